"""The room of data recipes: one file a modality, which makes its corpus and tasks of public packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polydistill.plugins import Registry

RECIPES: Registry[Callable[..., Any]] = Registry("data recipe", __name__)
