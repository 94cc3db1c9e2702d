"""The room of every modality: one file an entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polydistill.plugins import Plugins

MODALITIES: Plugins[Callable[..., Any]] = Plugins("modality", __name__)
