"""Scores of several models and seeds on the same examples, with bootstrap intervals."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from polydistill.config.data import TaskParams
from polydistill.errors import DataError
from polydistill.evaluation.statistics.bootstrap import (
    RESAMPLES,
    Groups,
    Interval,
    interval,
    resampled_columns,
)
from polydistill.evaluation.statistics.kinds import group_by_kind, over_kinds

DOMAINS = {"all": None, "in-domain": "in", "out-of-domain": "out"}


class PairedScores:
    """Main scores by domain and task kind, with the same resampled examples for every model.

    The groups of each task are resampled independently of other tasks. The score of a kind is the mean of its tasks,
    and `mean` is the mean of the kinds. Two tasks on the same rows (classification and clustering) are treated as
    independent.

    A model that lacks a task, such as BM25, has no score in the task's kind and no `mean`, because means over different
    tasks cannot be compared.

    Args:
        tables: One table per seed, with columns `task`, `model`, `example` and `score`. A model may be
            missing for some seeds or tasks.
        tasks: Kind and domain of each task.
        groups: See `statistics.bootstrap.Groups`.
        resamples: Number of bootstrap resamples.

    Raises:
        DataError: Two models were scored on different examples.
    """

    def __init__(
        self,
        tables: Mapping[int, pd.DataFrame],
        tasks: Mapping[str, TaskParams],
        groups: Groups | None = None,
        resamples: int = RESAMPLES,
    ) -> None:
        examples = _by_example(tables)
        columns: Any = reduce(
            lambda one, other: one.union(other), (frame.columns for frame in examples.values())
        )
        self._columns: dict[str, dict[int, int]] = {}
        for index, (model, seed) in enumerate(columns):
            self._columns.setdefault(model, {})[int(seed)] = index
        points = {
            task: frame.mean().reindex(columns).to_numpy() for task, frame in examples.items()
        }
        draws = {
            task: pd.DataFrame(
                resampled_columns(task, frame, groups, resamples), columns=frame.columns
            )
            .reindex(columns=columns)
            .to_numpy()
            for task, frame in examples.items()
        }
        self.tasks: dict[str, dict[str, list[str]]] = {}
        """The available tasks by domain and kind."""
        self._points, self._draws = {}, {}
        for domain, wanted in DOMAINS.items():
            kinds = {t: tasks[t].kind for t in examples if wanted in {None, tasks[t].domain}}
            if kinds:
                self.tasks[domain] = group_by_kind(kinds)
                self._points[domain] = over_kinds(points, kinds)
                self._draws[domain] = over_kinds(draws, kinds)

    @property
    def models(self) -> list[str]:
        """The models' names, sorted."""
        return sorted(self._columns)

    def kinds(self, domain: str, model: str | None = None) -> list[str]:
        """Return the task kinds of a domain, and `mean`; only those in which `model` has a score, if it is given."""
        columns = [] if model is None else list(self._columns[model].values())
        return [
            kind
            for kind, points in self._points[domain].items()
            if np.isfinite(points[columns]).all()
        ]

    def seeds(self, model: str) -> list[int]:
        """Return the seeds of a model, in order."""
        return sorted(self._columns[model])

    def common_seeds(self, one: str, other: str) -> list[int]:
        """Return the seeds that both models have."""
        return sorted(self._columns[one].keys() & self._columns[other].keys())

    def mean(self, domain: str, kind: str, model: str, seeds: Sequence[int] | None = None) -> float:
        """Return a model's mean main score over tasks and over `seeds`; over all its seeds if `seeds` is None."""
        chosen = [self._columns[model][seed] for seed in seeds or self.seeds(model)]
        return float(self._points[domain][kind][chosen].mean())

    def difference(self, domain: str, kind: str, one: str, other: str) -> Interval:
        """Return the score difference `one` minus `other` over their common seeds, with a paired interval.

        The interval reflects the sampling of examples only; the seeds are fixed.
        """
        seeds = self.common_seeds(one, other)
        mine, theirs = ([self._columns[model][seed] for seed in seeds] for model in (one, other))
        points, draws = self._points[domain][kind], self._draws[domain][kind]
        drawn = draws[:, mine].mean(axis=1) - draws[:, theirs].mean(axis=1)
        apart = float(points[mine].mean() - points[theirs].mean())
        return interval(apart, drawn)


def _by_example(tables: Mapping[int, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return each task's scores, with one row per example and one column per model and seed."""
    rows = pd.concat([table.assign(seed=seed) for seed, table in sorted(tables.items())])
    pivoted = {
        str(task): frame.pivot_table(index="example", columns=["model", "seed"], values="score")
        for task, frame in rows.groupby("task")
    }
    for task, frame in pivoted.items():
        if frame.isna().to_numpy().any():
            raise DataError(f"All models must be scored on the same examples of task {task!r}.")
    return pivoted
