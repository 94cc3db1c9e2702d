"""Plug-in package of the teacher families; one file per plug-in."""

from collections.abc import Callable
from typing import Any

from polydistill.plugins import Plugins

TEACHERS: Plugins[Callable[..., Any]] = Plugins("teacher family", __name__)
