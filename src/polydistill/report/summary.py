"""The table at the end of a run: plain data, and how a terminal shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polydistill.config.params import Params
from polydistill.evaluation.sizes import Size, student_size, teacher_size
from polydistill.project.layout import Layout
from polydistill.report.inputs import Inputs, read_inputs
from polydistill.report.speed import Measured, known_speeds
from polydistill.report.tables import STUDENT, UNDISTILLED, Row, require_known, score_table
from polydistill.teachers import TEACHERS

if TYPE_CHECKING:
    from rich.table import Table

OUTCOMES = {
    "promoted": "Promoted: the student is champion.",
    "refused": "Refused: the champion before stays.",
    "unchanged": "Unchanged: the student was champion already.",
}
SIZE_COLUMNS = ("parameters", "MB", "examples/s")


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        modality: A block of `params.yaml`.
        columns: `model`, each task kind, `mean`, `parameters`, `MB`, `examples/s`.
        rows: One list a model, in the columns' order; None where a number is not known.
        best: Whether the cell is its column's best score.
        verdict: What the gate said, in one line.
    """

    modality: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]
    best: tuple[tuple[bool, ...], ...]
    verdict: str


def summarise(root: Path, params: Params, modality: str) -> Summary:
    """Gather scores, sizes, the speeds that have been measured, and the verdict.

    Raises:
        MissingDataError: There is no `scores.json`.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    inputs = read_inputs(layout)
    require_known(inputs.scores, block.tasks)
    table = score_table(inputs.scores, block.tasks, list(params.enabled_teachers(modality)))
    speeds = {one.model: one for one in known_speeds(root, params, modality)}
    sizes = model_sizes(root, params, modality)
    return Summary(
        modality=modality,
        columns=("model", *table.columns, *SIZE_COLUMNS),
        rows=tuple(_line(row, sizes.get(row.name, Size()), speeds) for row in table.rows),
        best=tuple(
            (False, *(cell.best for cell in row.cells), False, False, False) for row in table.rows
        ),
        verdict=verdict_line(inputs),
    )


def model_sizes(root: Path, params: Params, modality: str) -> dict[str, Size]:
    """Return the size of the student, before and after, and of each enabled teacher."""
    layout = Layout(root, modality)
    sizes = {
        STUDENT: student_size(layout.student),
        UNDISTILLED: student_size(layout.undistilled),
    }
    for name, row in params.enabled_teachers(modality).items():
        teacher = TEACHERS.get(row.family)(name=name, threads=params.threads, **row.options)
        sizes[name] = teacher_size(row, teacher)
    return sizes


def verdict_line(inputs: Inputs) -> str:
    """Return the verdict in one line."""
    if inputs.verdict is None:
        return "The gate has not run."
    outcome = str(inputs.verdict.get("outcome", "unknown"))
    line = OUTCOMES.get(outcome, f"The gate said {outcome!r}.")
    return f"{line} But it judged another student." if inputs.verdict_is_old else line


def render(summary: Summary) -> Table:
    """Return the summary as a table for a terminal; the best score of a column is bold."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"Student and teachers: {summary.modality}", caption=summary.verdict)
    for column in summary.columns:
        table.add_column(column, justify="left" if column == "model" else "right", no_wrap=True)
    for row, best in zip(summary.rows, summary.best, strict=True):
        cells = [
            Text(_shown(value, column), style="bold" if mark else "")
            for value, column, mark in zip(row, summary.columns, best, strict=True)
        ]
        table.add_row(*cells, style="cyan" if row[0] == STUDENT else "")
    return table


def _line(
    row: Row, size: Size, speeds: dict[str, Measured]
) -> tuple[str | float | int | None, ...]:
    measured = speeds.get(row.name)
    megabytes = None if size.weight_bytes is None else round(size.weight_bytes / 1e6, 1)
    return (
        row.name,
        *(None if cell.value is None else round(cell.value, 4) for cell in row.cells),
        size.n_parameters,
        megabytes,
        None if measured is None else measured.examples_per_s,
    )


def _shown(value: str | float | None, column: str) -> str:
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, str):
        return value
    if column == "parameters":
        return f"{value / 1e6:.1f} M"
    if column == "examples/s":
        return f"{value:,.0f}"
    return f"{value:.1f}" if column == "MB" else f"{value:.3f}"
