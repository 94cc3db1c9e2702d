"""Plug-in package of the losses; one file per plug-in."""

from collections.abc import Callable
from typing import Any

from polydistill.plugins import Plugins

LOSSES: Plugins[Callable[..., Any]] = Plugins("loss", __name__)
