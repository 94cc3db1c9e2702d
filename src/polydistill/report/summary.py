"""The summary table at the end of a run: the data, and its rendering in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from polydistill.config.params import Params
from polydistill.project.layout import Layout
from polydistill.report.costs import Size, known_speeds, model_sizes
from polydistill.report.gate import DASH
from polydistill.report.results import Inputs, read_inputs
from polydistill.report.tables import STUDENT, mean_scores, require_known, role_of

if TYPE_CHECKING:
    from rich.table import Table

OUTCOMES = {
    "promoted": "Promoted: the student is champion.",
    "refused": "Refused: the previous champion stays.",
    "unchanged": "Unchanged: the student was champion already.",
}
FORMATS = {"parameters": "{:,.1f} M", "MB": "{:.1f}", "examples/s": "{:,.0f}"}


@dataclass(frozen=True)
class Summary:
    """The results of a run.

    Attributes:
        modality: The modality, which is a block of `params.yaml`.
        columns: Names of the columns: `model`, `role`, each task kind, `mean`, `parameters`, `MB`, `examples/s`.
        rows: One list per model, in the order of the columns; None for an unknown number.
        best: Whether each cell of `rows` is the best score of its column.
        verdict: The verdict of the gate, in one line.
        model: The registered version that can be used.
    """

    modality: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]
    best: tuple[tuple[bool, ...], ...]
    verdict: str
    model: str


def summarise(root: Path, params: Params, modality: str) -> Summary:
    """Collect the scores, sizes, stored speed measurements and the verdict of a run.

    Raises:
        MissingDataError: There is no `scores.json`.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    inputs = read_inputs(layout)
    require_known(inputs.scores, block.tasks)
    teachers = list(block.enabled_teachers)
    means = mean_scores(inputs.scores, block.tasks, teachers)
    speeds = {one.model: one.examples_per_s for one in known_speeds(root, params, modality)}
    sizes = model_sizes(root, params, modality)
    rows, best = [], []
    is_best = (means == means.max()).to_numpy()
    for (model, scores), mark in zip(means.iterrows(), is_best, strict=True):
        size = sizes.get(str(model), Size())
        shown = [None if pd.isna(score) else round(score, 4) for score in scores]
        megabytes = size.megabytes and round(size.megabytes, 1)
        costs = (size.n_parameters, megabytes, speeds.get(str(model)))
        rows.append((str(model), role_of(str(model), teachers), *shown, *costs))
        best.append((False, False, *mark.tolist(), False, False, False))
    columns = ("model", "role", *means.columns, *FORMATS)
    return Summary(
        modality,
        columns,
        tuple(rows),
        tuple(best),
        verdict_line(inputs),
        usable_version(modality, inputs.verdict),
    )


def verdict_line(inputs: Inputs) -> str:
    """Return the verdict of the gate in one line."""
    if inputs.verdict is None:
        return "The gate has not run."
    outcome = inputs.verdict.get("outcome", "unknown")
    line = OUTCOMES.get(outcome, f"The verdict of the gate is {outcome!r}.")
    if is_without_champion(inputs.verdict):
        line = "Refused: there is no champion yet."
    judged = inputs.verdict.get("student_sha256")
    here = (inputs.distillation or {}).get("student_sha256")
    return f"{line} But it judged another student." if judged and here and judged != here else line


def is_without_champion(verdict: Mapping[str, object] | None) -> bool:
    """Return whether the gate refused a challenger when there was no champion."""
    return (
        verdict is not None
        and verdict.get("outcome") == "refused"
        and verdict.get("champion") is None
    )


def usable_version(modality: str, verdict: Mapping[str, object] | None) -> str:
    """Return the address of the version to use: the champion or, without one, the refused challenger."""
    alias = "challenger" if is_without_champion(verdict) else "champion"
    return f"models:/student-{modality}@{alias}"


def render(summary: Summary) -> Table:
    """Return the summary as a table for a terminal; the best score of a column is bold."""
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(
        *(
            Column(name, justify="left" if name in {"model", "role"} else "right", no_wrap=True)
            for name in summary.columns
        ),
        title=f"Student, teachers and rivals: {summary.modality}",
        caption=summary.verdict,
    )
    for row, best in zip(summary.rows, summary.best, strict=True):
        cells = [
            Text(_shown(value, column), style="bold" if mark else "")
            for value, column, mark in zip(row, summary.columns, best, strict=True)
        ]
        table.add_row(*cells, style="cyan" if row[0] == STUDENT else "")
    return table


def _shown(value: str | float | None, column: str) -> str:
    if value is None or isinstance(value, str):
        return value or DASH
    return FORMATS.get(column, "{:.3f}").format(value / 1e6 if column == "parameters" else value)
