"""The models of a report: the student, the undistilled student, teachers and rivals, with sizes, speeds and costs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from polydistill.evaluation.rivals.teachers_pca import TeachersPca
from polydistill.evaluation.statistics.kinds import OVERALL, Scores
from polydistill.report import tables
from polydistill.report.costs import Measured, Size
from polydistill.report.tables import STUDENT, UNDISTILLED, model_order, role_of

PRICE_PER_HOUR = 0.10
"""Price of the machine in US dollars per hour: about that of two cores in a public cloud."""


@dataclass(frozen=True)
class Model:
    """One model of the report. A number is None if it is unknown.

    Attributes:
        name: Its name in `scores.json`.
        role: `student`, `undistilled`, `teacher` (enabled in the parameters), or `rival`: any other.
        mean: Its mean score over the kinds of tasks; None if it lacks a task that others have.
        kinds: Its mean score by kind of task, without the kinds of which it lacks a task.
        megabytes: Size of its weights on disk, in 10^6 bytes.
        n_parameters: Number of its parameters.
        examples_per_s: Its measured speed.
        problem: Why its speed was not measured; empty if it was.
    """

    name: str
    role: str
    mean: float | None
    kinds: dict[str, float]
    megabytes: float | None = None
    n_parameters: int | None = None
    examples_per_s: float | None = None
    problem: str = ""


def models(
    scores: Scores,
    means: pd.DataFrame,
    teachers: Sequence[str],
    sizes: Mapping[str, Size],
    speeds: Sequence[Measured] | None,
) -> list[Model]:
    """Return the models of `scores`: student, undistilled student, teachers, rivals.

    Args:
        scores: See `statistics.kinds.Scores`.
        means: See `tables.mean_scores`.
        teachers: The enabled teachers.
        sizes: The known sizes by model.
        speeds: The measured speeds; None: they were not measured.
    """
    measured = {one.model: one for one in speeds or ()}
    found = []
    for name in model_order(scores, teachers):
        size = sizes.get(name, Size())
        # The same encoder with other weights, so its speed is the student's.
        speed = measured.get(STUDENT if name == UNDISTILLED else name)
        known = tables.known(means.T[name]) if name in means.index else {}
        found.append(
            Model(
                name=name,
                role=role_of(name, teachers),
                mean=known.pop(OVERALL, None),
                kinds=known,
                megabytes=size.megabytes,
                n_parameters=size.n_parameters,
                examples_per_s=speed.examples_per_s if speed else None,
                problem=speed.problem if speed else "",
            )
        )
    return found


def best_teacher(rows: Sequence[Model]) -> Model | None:
    """Return the teacher with the highest mean score, or None."""
    return _best(one for one in rows if one.role == "teacher")


def best_rival(rows: Sequence[Model]) -> Model | None:
    """Return the rival with the highest mean score that one could use instead of the student, or None."""
    return _best(one for one in rows if one.role == "rival" and one.name != TeachersPca.name)


def _best(rows: Iterable[Model]) -> Model | None:
    scored = [(one.mean, one) for one in rows if one.mean is not None]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def usd_per_million(examples_per_s: float, usd_per_hour: float) -> float:
    """Return the cost of one million examples on a machine that works without a pause, in US dollars.

    Examples:
        >>> round(usd_per_million(1000, 0.36), 6)
        0.1
    """
    return usd_per_hour / 3600 * 1e6 / examples_per_s
