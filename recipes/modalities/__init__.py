"""Data recipes: one file per modality, which builds its corpus and tasks from public packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polydistill.plugins import Plugins

RECIPES: Plugins[Callable[..., Any]] = Plugins("data recipe", __name__)
