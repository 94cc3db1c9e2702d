"""Inputs and results of the gate's rules: scores per example, measurements of a version, and rule outcomes."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polydistill.errors import DataError, short
from polydistill.evaluation.contamination import Contamination
from polydistill.evaluation.latency import Latency

Floats = NDArray[np.float64]
STUDENT, UNDISTILLED = "student", "undistilled"


@dataclass(frozen=True, eq=False)
class TaskExamples:
    """The scores per example of one benchmark task, sorted by example id.

    Attributes:
        kind: The kind of the task.
        digest: The sha256 of the examples' ids and targets; tasks with equal digests can be compared.
        student: The student's scores, `(n_examples,)`, averaged over the seeds of the evaluation.
        undistilled: Scores of the student before its first training step. None: it was not evaluated.
        groups: Groups of dependent examples, `(n_examples,)`. None: each example is its own group.
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
        version: The number of the version in the registry.
        student_sha256: The sha256 of its weights.
        scores: Main scores by task kind and task.
        diverged: Whether its training diverged.
        examples: Scores per example, by task.
    """

    version: int
    student_sha256: str
    scores: Mapping[str, Mapping[str, float]]
    diverged: bool
    examples: Mapping[str, TaskExamples]


@dataclass(frozen=True)
class Finding:
    """Whether a requirement holds, and a sentence that explains why."""

    holds: bool
    because: str


@dataclass(frozen=True)
class Evidence:
    """Measurements of a challenger. None: not measured.

    Attributes:
        contamination: The overlap between the training corpus and the benchmark.
        validation: Whether the corpus and the tasks were validated.
        licences: Licence of the weights by teacher. None: the licence is not recorded.
        reproducible: Whether the attached files suffice to reproduce the version. None: the version is not tagged.
        latency: One measurement per batch size; empty if it was not measured.
        size_mb: Size of the bundle on disk, in 10^6 bytes.
        memory_mb: Growth of the peak memory of a fresh process that loads the bundle and answers, in 10^6 bytes.
        smoke_test: Whether the bundle gives the same answers in a fresh process as when it was published.
    """

    contamination: Contamination | None = None
    validation: Finding | None = None
    licences: Mapping[str, str | None] | None = None
    reproducible: bool | None = None
    latency: tuple[Latency, ...] = ()
    size_mb: float | None = None
    memory_mb: float | None = None
    smoke_test: Finding | None = None


@dataclass(frozen=True)
class RuleOutcome:
    """The outcome of one rule of the gate.

    Attributes:
        name: The name of the rule.
        passed: Whether the challenger passes the rule.
        because: A sentence that explains the outcome.
        value: The measured number. None: there is none.
        bound: The smallest or largest value that passes.
        interval: The confidence interval of `value`.
        bound_is: Whether `bound` is the smallest (`least`) or the largest (`most`) value that passes.
        task: The benchmark task, if the rule is applied per task.
        skipped: Whether the rule passed because there was nothing to compare with.
    """

    name: str
    passed: bool
    because: str
    value: float | None = None
    bound: float | None = None
    interval: tuple[float, float] | None = None
    bound_is: Literal["least", "most"] = "least"
    task: str | None = None
    skipped: bool = False


def task_examples(
    predictions: pd.DataFrame, kinds: Mapping[str, str], groups: pd.DataFrame | None = None
) -> dict[str, TaskExamples]:
    """Return the scores per example of each task, from the predictions of the evaluate stage.

    Args:
        predictions: Columns `task`, `example`, `seed`, `model`, `target` and `score`.
        kinds: Kind by task. Tasks without a kind are left out.
        groups: Columns `task`, `id` and `group`, one row per example. None: examples have no groups.
    """
    rows = predictions[predictions["model"].isin([STUDENT, UNDISTILLED])]
    rows = rows[rows["task"].isin(list(kinds))]
    found = {}
    for name, frame in rows.groupby("task", sort=True):
        task = str(name)
        means = frame.groupby(["example", "model"])["score"].mean().unstack("model").sort_index()
        complete = means.dropna(axis="columns")
        if STUDENT not in complete:
            continue
        known: Mapping[Any, str] = {}
        if groups is not None:
            known = groups[groups["task"] == task].set_index("id")["group"].to_dict()
        found[task] = TaskExamples(
            kind=kinds[task],
            digest=_digest(frame),
            student=complete[STUDENT].to_numpy(np.float64),
            undistilled=complete[UNDISTILLED].to_numpy(float) if UNDISTILLED in complete else None,
            groups=_groups_of(task, means.index, known) if known else None,
        )
    return found


def _groups_of(task: str, examples: Iterable[object], known: Mapping[Any, str]) -> NDArray[np.str_]:
    """Return the group of each example.

    Raises:
        DataError: An example has no group: the file of groups is damaged.
    """
    try:
        return np.array([known[str(one)] for one in examples])
    except KeyError as error:
        raise DataError(
            f"The groups of task {task!r} that were published lack the example {short(error.args[0])}: the file is "
            "damaged. Reject the version, and publish the student again."
        ) from error


def _digest(frame: pd.DataFrame) -> str:
    """Return the sha256 of a task's examples and their targets."""
    pairs = frame[["example", "target"]].astype(str).drop_duplicates().sort_values(["example"])
    lines = (f"{one}\t{target}" for one, target in pairs.itertuples(index=False))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
