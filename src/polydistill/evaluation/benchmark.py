"""Runs models on benchmark tasks and computes scores with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from polydistill.config.data import TaskParams
from polydistill.config.training import EvaluationParams
from polydistill.contracts import Modality, Progress, silent
from polydistill.errors import DataError
from polydistill.evaluation.encoder import LookupEncoder
from polydistill.evaluation.run import TaskRun, run_task
from polydistill.evaluation.scores import Scores
from polydistill.evaluation.statistics.bootstrap import interval, resampled_columns
from polydistill.evaluation.statistics.kinds import OVERALL
from polydistill.evaluation.statistics.paired import PairedScores
from polydistill.evaluation.task import BenchmarkTask, TaskSource
from polydistill.evaluation.tasks import BENCHMARKS

RESAMPLES = 10_000
CONFIDENCE = 0.95


def build_tasks(
    frames: Mapping[str, pd.DataFrame],
    tasks: Mapping[str, TaskParams],
    evaluation: EvaluationParams,
    kind: Modality,
) -> list[BenchmarkTask]:
    """Return benchmark tasks built from tables.

    Args:
        frames: Table of each task that is available, by name.
        tasks: Kind and probe of each task.
        evaluation: Evaluation settings with the seeds.
        kind: The modality of the examples.

    Raises:
        MissingExtraError: mteb is not installed.
        DataError: No task is available, or a task's rows cannot be probed.
    """
    if not frames:
        raise DataError("At least one task must be available, got none: name one under `tasks`.")
    return [
        BENCHMARKS.get(tasks[name].kind)(
            TaskSource(
                name, frame, kind.column, kind.content_id, evaluation.seeds, tasks[name].probe
            )
        )
        for name, frame in frames.items()
    ]


def run_tasks(
    encoder: LookupEncoder, tasks: Sequence[BenchmarkTask], n_threads: int
) -> Iterator[TaskRun]:
    """Yield a model's result on each task; the threads of the linear algebra are limited for reproducible sums."""
    from threadpoolctl import threadpool_limits

    for task in tasks:
        with threadpool_limits(n_threads, "blas"), threadpool_limits(1, "openmp"):
            yield run_task(encoder, task)


@dataclass(frozen=True)
class BenchmarkRun:
    """The results of several models on the same tasks.

    Attributes:
        scores: Main scores by model, task kind and task, to four decimals.
        predictions: One row per task, model, seed and example.
        results: mteb's results by model and task, without times.
        missing: By model, the number of inputs without an embedding; they count as zero vectors.
    """

    scores: Scores
    predictions: pd.DataFrame
    results: dict[str, dict[str, dict[str, Any]]]
    missing: dict[str, int]


def run_benchmark(
    encoders: Iterable[LookupEncoder],
    built: Sequence[BenchmarkTask],
    tasks: Mapping[str, TaskParams],
    n_threads: int,
    progress: Progress = silent,
) -> BenchmarkRun:
    """Score every model on every task.

    Args:
        encoders: The models; each is released before the next is created.
        built: The tasks, from `build_tasks`.
        tasks: Kind of each task.
        n_threads: Number of threads of the linear algebra.
        progress: Called after each task of each model.
    """
    run = BenchmarkRun({}, pd.DataFrame(), {}, {})
    predictions = []
    for encoder in encoders:
        name = encoder.name
        run.scores[name], run.results[name] = {}, {}
        run.missing[name] = encoder.n_missing
        for done, (task, found) in enumerate(
            zip(built, run_tasks(encoder, built, n_threads), strict=True), 1
        ):
            by_task = run.scores[name].setdefault(tasks[task.name].kind, {})
            by_task[task.name] = round(found.score, 4)
            run.results[name][task.name] = found.result
            predictions.append(found.predictions.assign(task=task.name, model=name))
            progress(f"evaluate {name}", done, len(built), score=found.score)
    return replace(run, predictions=pd.concat(predictions, ignore_index=True))


def score_table(
    predictions: pd.DataFrame,
    tasks: Mapping[str, TaskParams],
    groups: Mapping[str, pd.Series] | None = None,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Return each model's score on each task, with a bootstrap interval over the task's groups.

    Args:
        predictions: One row per `task`, `model`, `example` and seed, with `score`.
        tasks: Kind of each task.
        groups: For a task with groups, the group of each example by its id; whole groups are drawn.
        confidence: Confidence of the intervals, in (0, 1).
        resamples: Number of bootstrap resamples.

    Returns:
        Columns `task, kind, model, score, low, high, n`, models in the order of `predictions`.
    """
    rows = []
    order = list(dict.fromkeys(predictions["model"]))
    for task, frame in predictions.groupby("task", sort=False):
        by_example = frame.pivot_table(index="example", columns="model", values="score")[
            [model for model in order if model in set(frame["model"])]
        ]
        known = (groups or {}).get(str(task))
        draws = resampled_columns(
            by_example.to_numpy(),
            groups=None if known is None else known.loc[by_example.index].to_numpy(),
            resamples=resamples,
            generator=np.random.default_rng(crc32(str(task).encode())),
        )
        for column, model in enumerate(by_example):
            found = interval(by_example[model].mean(), draws[:, column], confidence=confidence)
            rows.append((task, tasks[str(task)].kind, model, *found.as_tuple, len(by_example)))
    return pd.DataFrame(rows, columns=["task", "kind", "model", "score", "low", "high", "n"])


def difference_table(
    predictions: pd.DataFrame,
    tasks: Mapping[str, TaskParams],
    groups: Mapping[str, pd.Series] | None = None,
    *,
    one: str,
    other: str,
) -> pd.DataFrame:
    """Return the score difference of two models on each task, with paired intervals.

    Returns:
        Columns `task, kind, difference, low, high, n`; the last row is the mean over task kinds, each counted once.
    """
    scores = PairedScores({0: predictions}, tasks, groups)
    rows: list[tuple[str, str, float, float, float, int]] = []
    for task, frame in predictions[predictions["model"] == one].groupby("task", sort=False):
        name = str(task)
        alone = PairedScores({0: predictions[predictions["task"] == task]}, tasks, groups)
        found = alone.difference("all", OVERALL, one, other)
        rows.append((name, tasks[name].kind, *found.as_tuple, frame["example"].nunique()))
    overall = scores.difference("all", OVERALL, one, other)
    rows.append(("mean", "", *overall.as_tuple, sum(row[-1] for row in rows)))
    return pd.DataFrame(rows, columns=["task", "kind", "difference", "low", "high", "n"])
