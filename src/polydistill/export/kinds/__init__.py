"""Plug-in package of the exports, one file per plug-in: maps that are applied to a student's embeddings."""

from typing import Any

from polydistill.plugins import Plugins

EXPORTS: Plugins[Any] = Plugins("export", __name__)
