"""Plug-in package of the exports, one file per plug-in: maps of a student's embeddings for its users."""

from typing import Any

from polydistill.plugins import Plugins

EXPORTS: Plugins[Any] = Plugins("export", __name__)
