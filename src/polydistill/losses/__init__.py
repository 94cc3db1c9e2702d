"""The room of every loss: one file an entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polydistill.plugins import Plugins

LOSSES: Plugins[Callable[..., Any]] = Plugins("loss", __name__)
