"""The room of every weighting: one file an entry. A weighting decides what each teacher counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polydistill.plugins import Registry

WEIGHTINGS: Registry[Callable[..., Any]] = Registry("weighting", __name__)
