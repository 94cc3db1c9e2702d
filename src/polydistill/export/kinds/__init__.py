"""The room of every export: one file an entry, which says what a student's user gets of its embeddings."""

from __future__ import annotations

from typing import Any

from polydistill.plugins import Plugins

EXPORTS: Plugins[Any] = Plugins("export", __name__)
