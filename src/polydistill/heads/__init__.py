"""Plug-in package of the heads; one file per plug-in."""

from collections.abc import Callable
from typing import Any

from polydistill.plugins import Plugins

HEADS: Plugins[Callable[..., Any]] = Plugins("head", __name__)
