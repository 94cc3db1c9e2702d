"""The room of data recipes: one file a modality, which makes its corpus and tasks of public packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polydistill.plugins import Plugins

RECIPES: Plugins[Callable[..., Any]] = Plugins("data recipe", __name__)
