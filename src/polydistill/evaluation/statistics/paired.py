"""Scores of several models and seeds on the same examples, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polydistill.config.data import TaskParams
from polydistill.errors import DataError
from polydistill.evaluation.statistics.bootstrap import Interval, interval, resampled_columns
from polydistill.evaluation.statistics.kinds import group_by_kind, over_kinds

RESAMPLES = 10_000
CONFIDENCE = 0.95
DOMAINS = {"all": None, "in-domain": "in", "out-of-domain": "out"}


class PairedScores:
    """Main scores by domain and task kind, with the same resampled examples for every model.

    The groups of each task are resampled independently of other tasks. The score of a kind is the mean of its tasks, and
    `mean` is the mean of the kinds. Two tasks on the same rows (classification and clustering) are treated as
    independent.

    Args:
        tables: By seed, a table with `task`, `model`, `example` and `score`. A model may lack a seed.
        tasks: Kind and domain of each task.
        groups: For a task with groups, the group of each example by its id.
        resamples: Number of bootstrap resamples.

    Raises:
        DataError: Two models were scored on different examples.
    """

    def __init__(
        self,
        tables: Mapping[int, pd.DataFrame],
        tasks: Mapping[str, TaskParams],
        groups: Mapping[str, pd.Series] | None = None,
        resamples: int = RESAMPLES,
    ) -> None:
        examples = _by_example(tables)
        columns = next(iter(examples.values())).columns
        self._columns: dict[str, dict[int, int]] = {}
        for index in range(len(columns)):
            model, seed = (columns.get_level_values(level)[index] for level in (0, 1))
            self._columns.setdefault(str(model), {})[int(seed)] = index
        points = {task: frame[columns].mean().to_numpy() for task, frame in examples.items()}
        draws = {
            task: _resampled(task, frame[columns], (groups or {}).get(task), resamples)
            for task, frame in examples.items()
        }
        kinds = {
            domain: {t: tasks[t].kind for t in examples if wanted in {None, tasks[t].domain}}
            for domain, wanted in DOMAINS.items()
        }
        kinds = {domain: by_task for domain, by_task in kinds.items() if by_task}
        self.tasks = {domain: group_by_kind(by_task) for domain, by_task in kinds.items()}
        """The available tasks by domain and kind."""
        self._points = {domain: over_kinds(points, by_task) for domain, by_task in kinds.items()}
        self._draws = {domain: over_kinds(draws, by_task) for domain, by_task in kinds.items()}

    @property
    def models(self) -> list[str]:
        """The models' names, sorted."""
        return sorted(self._columns)

    def kinds(self, domain: str) -> list[str]:
        """Return the task kinds of a domain, and `mean`."""
        return list(self._points[domain])

    def seeds(self, model: str) -> list[int]:
        """Return the seeds of a model, in order."""
        return sorted(self._columns[model])

    def common_seeds(self, one: str, other: str) -> list[int]:
        """Return the seeds that both models have."""
        return sorted(self._columns[one].keys() & self._columns[other].keys())

    def mean(self, domain: str, kind: str, model: str, seeds: Sequence[int] | None = None) -> float:
        """Return a model's mean main score over tasks and over `seeds`. None: all its seeds."""
        places = [self._columns[model][seed] for seed in seeds or self.seeds(model)]
        return float(self._points[domain][kind][places].mean())

    def difference(self, domain: str, kind: str, one: str, other: str) -> Interval:
        """Return the score difference `one` minus `other` over their common seeds, with a paired interval.

        The interval describes the choice of examples; the seeds are fixed.
        """
        seeds = self.common_seeds(one, other)
        mine, theirs = ([self._columns[model][seed] for seed in seeds] for model in (one, other))
        points, draws = self._points[domain][kind], self._draws[domain][kind]
        drawn = draws[:, mine].mean(axis=1) - draws[:, theirs].mean(axis=1)
        apart = float(points[mine].mean() - points[theirs].mean())
        return interval(apart, drawn, confidence=CONFIDENCE)


def _by_example(tables: Mapping[int, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return each task's scores, with one row per example and one column per model and seed."""
    rows = pd.concat([table.assign(seed=seed) for seed, table in sorted(tables.items())])
    means = rows.groupby(["task", "model", "seed", "example"], sort=True, as_index=False)[
        "score"
    ].mean()
    pivoted = {
        str(task): frame.pivot(index="example", columns=["model", "seed"], values="score")
        for task, frame in means.groupby("task")
    }
    for task, frame in pivoted.items():
        if frame.isna().to_numpy().any():
            raise DataError(f"All models must be scored on the same examples of task {task!r}.")
    return pivoted


def _resampled(
    task: str, frame: pd.DataFrame, groups: pd.Series | None, resamples: int
) -> NDArray[np.float64]:
    return resampled_columns(
        frame.to_numpy(),
        groups=None if groups is None else groups.loc[frame.index].to_numpy(),
        resamples=resamples,
        generator=np.random.default_rng(crc32(task.encode())),
    )
