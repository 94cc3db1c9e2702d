"""What the gate looks at: a version's scores, each task's examples, and what was found out about it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polydistill.evaluation.contamination import Contamination
from polydistill.evaluation.latency import Latency

Floats = NDArray[np.float64]
STUDENT, UNDISTILLED = "student", "undistilled"


@dataclass(frozen=True, eq=False)
class TaskExamples:
    """One benchmark task, example by example, in the order of the examples' ids.

    Attributes:
        kind: The task's.
        digest: Of the examples' ids and targets: tasks of equal digests can be compared.
        student: The student's scores, `(n_examples,)`, means over the evaluation's seeds.
        undistilled: Those of the student before its first step; none, if it was not evaluated.
        groups: `(n_examples,)`: what belongs together; none, if every example is its own.
    """

    kind: str
    digest: str
    student: Floats
    undistilled: Floats | None = None
    groups: NDArray[np.str_] | None = None


@dataclass(frozen=True)
class Candidate:
    """A registered student.

    Attributes:
        version: Its number in the registry.
        student_sha256: Of its weights.
        scores: Task kind, task: main score.
        diverged: Whether its training left the finite numbers.
        examples: Task: its examples.
    """

    version: int
    student_sha256: str
    scores: Mapping[str, Mapping[str, float]]
    diverged: bool
    examples: Mapping[str, TaskExamples]


@dataclass(frozen=True)
class Finding:
    """Whether something holds, and a sentence for a person that says why."""

    holds: bool
    because: str


@dataclass(frozen=True)
class Evidence:
    """What was found out about a challenger; None where nothing was.

    Attributes:
        contamination: Of the benchmark, by the corpus that it was trained on.
        validation: Whether that corpus and the tasks were validated.
        licences: Teacher: its weights' licence, None where it is not recorded.
        reproducible: Whether the version can be made again from what is attached to it.
        latency: One a batch size.
        size_mb: The bundle on disk, 10^6 bytes.
        memory_mb: Growth of a fresh process's peak memory when it loads and answers, 10^6 bytes.
        smoke_test: Whether the published bundle gave the same answers there as at its publication.
    """

    contamination: Contamination | None = None
    validation: Finding | None = None
    licences: Mapping[str, str | None] | None = None
    reproducible: bool | None = None
    latency: tuple[Latency, ...] = field(default=())
    size_mb: float | None = None
    memory_mb: float | None = None
    smoke_test: Finding | None = None


def task_examples(
    predictions: pd.DataFrame,
    kinds: Mapping[str, str],
    groups: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, TaskExamples]:
    """Return the scores by task and example in the evaluate stage's predictions.

    Args:
        predictions: Columns `task`, `example`, `seed`, `model`, `target` and `score`.
        kinds: Task: its kind; others are left out.
        groups: Task: example's id: its group.
    """
    rows = predictions[predictions["model"].isin([STUDENT, UNDISTILLED])]
    found = {}
    for name, frame in rows.groupby("task", sort=True):
        task = str(name)
        if task not in kinds:
            continue
        means = frame.groupby(["example", "model"])["score"].mean().unstack("model").sort_index()
        if STUDENT not in means or means[STUDENT].isna().any():
            continue
        before = means.get(UNDISTILLED)
        known = (groups or {}).get(task)
        ids = [str(example) for example in means.index]
        found[task] = TaskExamples(
            kind=kinds[task],
            digest=_digest(frame),
            student=means[STUDENT].to_numpy(np.float64),
            undistilled=None if before is None or before.isna().any() else before.to_numpy(float),
            groups=None if known is None else np.array([known[example] for example in ids]),
        )
    return found


def _digest(frame: pd.DataFrame) -> str:
    """Return the sha256 of a task's examples and their targets."""
    pairs = frame[["example", "target"]].astype(str).drop_duplicates().sort_values(["example"])
    lines = (f"{one}\t{target}" for one, target in pairs.itertuples(index=False))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
