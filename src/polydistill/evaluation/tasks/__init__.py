"""Plug-in package of the task kinds, one file per plug-in; each builds an mteb task from a table."""

from collections.abc import Callable

from polydistill.evaluation.task import BenchmarkTask, TaskSource
from polydistill.plugins import Plugins

BENCHMARKS: Plugins[Callable[[TaskSource], BenchmarkTask]] = Plugins("task kind", __name__)
