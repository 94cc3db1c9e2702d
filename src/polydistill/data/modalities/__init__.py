"""Modalities: a plug-in package with one file per modality."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polydistill.plugins import Plugins

MODALITIES: Plugins[Callable[..., Any]] = Plugins("modality", __name__)
