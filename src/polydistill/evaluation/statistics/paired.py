"""Scores of several models over several seeds on the same examples, and what chance makes of them."""

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
    """Main scores by domain and task kind; every model meets the same resampled examples.

    A task's groups are resampled, tasks apart. A kind is the mean of its tasks, and `mean` the mean of the
    kinds. Two tasks on the same rows (classification and clustering) count as apart.

    Args:
        tables: By seed: `task`, `model`, `example`, `score`. A model may lack a seed.
        tasks: Kind and domain of each task.
        groups: For a task that knows any, the group of each example by its id.
        resamples: Of the bootstrap.

    Raises:
        DataError: Two models have scores of different examples.
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
        self._places: dict[str, dict[int, int]] = {}
        for place in range(len(columns)):
            model, seed = (columns.get_level_values(level)[place] for level in (0, 1))
            self._places.setdefault(str(model), {})[int(seed)] = place
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
        """Domain, kind: the tasks that are there."""
        self._points = {domain: over_kinds(points, by_task) for domain, by_task in kinds.items()}
        self._draws = {domain: over_kinds(draws, by_task) for domain, by_task in kinds.items()}

    @property
    def models(self) -> list[str]:
        """All of them, sorted."""
        return sorted(self._places)

    def kinds(self, domain: str) -> list[str]:
        """Return the task kinds of a domain, and `mean`."""
        return list(self._points[domain])

    def seeds(self, model: str) -> list[int]:
        """Return the seeds of a model, in order."""
        return sorted(self._places[model])

    def common_seeds(self, one: str, other: str) -> list[int]:
        """Return the seeds that both have."""
        return sorted(self._places[one].keys() & self._places[other].keys())

    def mean(self, domain: str, kind: str, model: str, seeds: Sequence[int] | None = None) -> float:
        """Return a model's mean main score over tasks and over `seeds`; none: all that it has."""
        places = [self._places[model][seed] for seed in seeds or self.seeds(model)]
        return float(self._points[domain][kind][places].mean())

    def difference(self, domain: str, kind: str, one: str, other: str) -> Interval:
        """Return how far `one` is above `other` over their common seeds, with a paired interval.

        The interval is of the examples' chance: the seeds stay as they are.
        """
        seeds = self.common_seeds(one, other)
        mine, theirs = ([self._places[model][seed] for seed in seeds] for model in (one, other))
        points, draws = self._points[domain][kind], self._draws[domain][kind]
        drawn = draws[:, mine].mean(axis=1) - draws[:, theirs].mean(axis=1)
        apart = float(points[mine].mean() - points[theirs].mean())
        return interval(apart, drawn, confidence=CONFIDENCE)


def _by_example(tables: Mapping[int, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return task: scores, one row an example and one column a model and seed."""
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
