"""The room of every task kind: one file an entry, which makes an mteb task of a table."""

from __future__ import annotations

from collections.abc import Callable

from polydistill.evaluation.task import BenchmarkTask, TaskSource
from polydistill.plugins import Plugins

__all__ = ["BENCHMARKS", "BenchmarkTask", "TaskSource"]

BENCHMARKS: Plugins[Callable[[TaskSource], BenchmarkTask]] = Plugins("task kind", __name__)
