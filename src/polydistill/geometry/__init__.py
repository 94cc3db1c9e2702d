"""The room of every geometry term: one file an entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polydistill.plugins import Registry

GEOMETRY: Registry[Callable[..., Any]] = Registry("geometry term", __name__)
