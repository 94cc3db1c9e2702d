"""Scores as tables of plain values: what the page and the terminal both show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from polydistill.config.data import TaskParams
from polydistill.errors import DataError
from polydistill.evaluation.scores import Scores, mean_score

STUDENT, UNDISTILLED = "student", "undistilled"
MEAN = "mean"


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        value: None where there is no such score.
        best: Whether nothing beside it is better.
    """

    value: float | None
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: A model or a task.
        note: What it is: `student`, `undistilled` or `teacher`; a task's kind and domain.
        cells: One a column.
    """

    name: str
    note: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Rows under the names of their columns."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def require_known(scores: Scores, tasks: Mapping[str, TaskParams]) -> None:
    """Refuse scores that do not belong to these parameters.

    Raises:
        DataError: The student is missing, or a task is not in `params.yaml`.
    """
    if STUDENT not in scores:
        raise DataError(
            f"scores.json must have the model {STUDENT!r}, got {', '.join(scores) or 'none'}: "
            "run the evaluate stage again."
        )
    for kinds in scores.values():
        for task in (task for by_task in kinds.values() for task in by_task):
            if task not in tasks:
                raise DataError(
                    f"scores.json has the task {task!r}, which params.yaml has not: "
                    "run the evaluate stage again."
                )


def model_order(scores: Scores, teachers: Sequence[str]) -> list[str]:
    """Return the models of `scores`: student, undistilled, teachers as in params, then any other."""
    known = [name for name in (STUDENT, UNDISTILLED, *teachers) if name in scores]
    return [*known, *sorted(set(scores) - set(known))]


def role(model: str) -> str:
    """Return the role of a model: `student`, `undistilled` or `teacher`."""
    return model if model in {STUDENT, UNDISTILLED} else "teacher"


def means(
    scores: Scores, tasks: Mapping[str, TaskParams], domain: str | None = None
) -> dict[str, dict[str, float]]:
    """Return model, task kind: mean, with `mean` over the kinds beside them.

    A model that lacks a task which another has gets no mean that this task counts in: means over
    different tasks cannot be compared.
    """
    wanted = _tasks_by_kind(scores, tasks, domain)
    result: dict[str, dict[str, float]] = {}
    for model, kinds in scores.items():
        result[model] = {
            kind: fmean(kinds[kind][name] for name in names)
            for kind, names in wanted.items()
            if names <= kinds.get(kind, {}).keys()
        }
        if wanted and len(result[model]) == len(wanted):
            result[model][MEAN] = mean_score(result[model])
    return result


def score_table(
    scores: Scores,
    tasks: Mapping[str, TaskParams],
    teachers: Sequence[str],
    domain: str | None = None,
) -> Table:
    """Return one row a model, and one column a task kind with the mean over them at the end."""
    by_model = means(scores, tasks, domain)
    kinds = sorted(_tasks_by_kind(scores, tasks, domain))
    columns = (*kinds, MEAN) if kinds else ()
    models = model_order(scores, teachers)
    best = {
        column: max((by_model[m][column] for m in models if column in by_model[m]), default=None)
        for column in columns
    }
    rows = (
        Row(model, role(model), tuple(_cell(by_model[model].get(c), best[c]) for c in columns))
        for model in models
    )
    return Table(columns, tuple(rows))


def task_table(
    scores: Scores,
    tasks: Mapping[str, TaskParams],
    teachers: Sequence[str],
    labels_seen: Mapping[str, Sequence[str]] | None = None,
) -> Table:
    """Return one row a task, in the order of `params.yaml`, and one column a model.

    A row's note also names the teachers that were trained on the task's labels (`labels_seen`).
    """
    models = model_order(scores, teachers)
    rows = []
    for name, task in tasks.items():
        values = {model: scores[model].get(task.kind, {}).get(name) for model in models}
        best = max((value for value in values.values() if value is not None), default=None)
        if best is not None:
            cells = tuple(_cell(values[model], best) for model in models)
            seen = ", ".join((labels_seen or {}).get(name, ()))
            stamp = f", labels seen by {seen}" if seen else ""
            rows.append(Row(name, f"{task.kind}, {task.domain}-domain{stamp}", cells))
    return Table(tuple(models), tuple(rows))


def best_teacher(by_model: Mapping[str, Mapping[str, float]], column: str = MEAN) -> str | None:
    """Return the teacher with the highest mean, or of a kind; None if there is none."""
    scored = {m: v[column] for m, v in by_model.items() if role(m) == "teacher" and column in v}
    return max(scored, key=lambda model: scored[model], default=None)


def retained(by_model: Mapping[str, Mapping[str, float]], column: str = MEAN) -> float | None:
    """Return the student's share of the best teacher's score; None if it cannot be said."""
    teacher = best_teacher(by_model, column)
    student = by_model.get(STUDENT, {}).get(column)
    if teacher is None or student is None or by_model[teacher][column] <= 0:
        return None
    return student / by_model[teacher][column]


def _cell(value: float | None, best: float | None) -> Cell:
    return Cell(value, value is not None and value == best)


def _tasks_by_kind(
    scores: Scores, tasks: Mapping[str, TaskParams], domain: str | None
) -> dict[str, set[str]]:
    """Return every task that some model has a score on, by kind."""
    found: dict[str, set[str]] = {}
    for kinds in scores.values():
        for kind, by_task in kinds.items():
            names = {t for t in by_task if domain is None or tasks[t].domain == domain}
            if names:
                found.setdefault(kind, set()).update(names)
    return found
