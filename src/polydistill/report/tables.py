"""Tables of scores, in which a missing score is NaN."""

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean

import pandas as pd

from polydistill.config.data import TaskParams
from polydistill.errors import DataError
from polydistill.evaluation.statistics.kinds import Scores

STUDENT, UNDISTILLED = "student", "undistilled"
MEAN = "mean"


def require_known(scores: Scores, tasks: Mapping[str, TaskParams]) -> None:
    """Raise if the scores do not belong to these parameters.

    Raises:
        DataError: The student is missing, or a task is not in `params.yaml`.
    """
    if STUDENT not in scores:
        raise DataError(
            f"scores.json must have the model {STUDENT!r}, got {', '.join(scores) or 'none'}: "
            "run the evaluate stage again."
        )
    scored = {task for kinds in scores.values() for by_task in kinds.values() for task in by_task}
    if unknown := sorted(scored - tasks.keys()):
        raise DataError(
            f"scores.json has the task {unknown[0]!r}, which is not in params.yaml: "
            "run the evaluate stage again."
        )


def model_order(scores: Scores, teachers: Sequence[str]) -> list[str]:
    """Return the models of `scores` in order: student, undistilled, teachers as in `params.yaml`, then the rivals."""
    known = [name for name in (STUDENT, UNDISTILLED, *teachers) if name in scores]
    return [*known, *(name for name in scores if name not in known)]


def role_of(model: str, teachers: Collection[str]) -> str:
    """Return `student`, `undistilled`, `teacher` or, for any other model, `rival`.

    Examples:
        >>> [role_of(name, ["minilm-l6"]) for name in ("student", "minilm-l6", "bm25")]
        ['student', 'teacher', 'rival']
    """
    if model in {STUDENT, UNDISTILLED}:
        return model
    return "teacher" if model in teachers else "rival"


def task_scores(
    scores: Scores,
    tasks: Mapping[str, TaskParams],
    teachers: Sequence[str],
    domain: str | None = None,
) -> pd.DataFrame:
    """Return a table with one row per scored task, in the order of `params.yaml`, and one column per model."""
    models = model_order(scores, teachers)
    rows = {
        name: [scores[model].get(task.kind, {}).get(name) for model in models]
        for name, task in tasks.items()
        if domain in {None, task.domain}
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=models, dtype=float)
    return table.dropna(how="all")


def mean_scores(
    scores: Scores,
    tasks: Mapping[str, TaskParams],
    teachers: Sequence[str],
    domain: str | None = None,
) -> pd.DataFrame:
    """Return mean scores: one row per model, one column per task kind, and a column `mean` over the kinds.

    If another model has a score on a task and this model does not, the means that include the task are missing for this
    model, because means over different tasks cannot be compared. Without any scored task, there are no columns.
    """
    by_task = task_scores(scores, tasks, teachers, domain)
    if by_task.empty:
        return pd.DataFrame(index=by_task.columns)
    by_kind = by_task.groupby([tasks[str(name)].kind for name in by_task.index]).agg(fmean)
    by_kind.loc[MEAN] = by_kind.agg(fmean)
    return by_kind.T


def shares_of_best_teacher(means: pd.DataFrame, teachers: Collection[str]) -> pd.DataFrame:
    """Return the means divided by the highest teacher's mean in each column; NaN if that is not above 0."""
    best = means[means.index.isin(teachers)].max()
    return means / best.where(best > 0)


def known(scores: pd.Series) -> dict[str, float]:
    """Return the scores of a row or column by name, and omit missing scores."""
    return {str(name): float(score) for name, score in scores.dropna().items()}
