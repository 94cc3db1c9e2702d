"""The room of every task kind: one file an entry, which makes an mteb task of a table."""

from __future__ import annotations

from collections.abc import Callable

from polydistill.benchmarks._task import BenchmarkTask, TaskSource
from polydistill.plugins import Registry

__all__ = ["BENCHMARKS", "BenchmarkTask", "TaskSource"]

BENCHMARKS: Registry[Callable[[TaskSource], BenchmarkTask]] = Registry("task kind", __name__)
