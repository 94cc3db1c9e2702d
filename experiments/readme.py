"""README's table of results, made from the stored headlines of all modalities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from experiments.formatting import NOTHING, listed, row
from experiments.headline_page import (
    BELOW,
    NAME,
    Headline,
    Model,
    cost_columns,
    leaders,
    read_headline,
    verdict,
)
from experiments.methods import DEFAULT, PAPER
from polydistill.config.params import Params
from polydistill.errors import DataError
from polydistill.evaluation.statistics.bootstrap import CONFIDENCE
from polydistill.evaluation.statistics.kinds import OVERALL
from polydistill.project.layout import Layout

README = "README.md"
BEGIN, END = f"<!-- {NAME}: begin -->", f"<!-- {NAME}: end -->"


def updated_readme(root: Path, params: Params) -> str:
    """Return the project's README with the table of the stored headlines between the markers.

    Raises:
        DataError: README lacks a marker, or a headline is damaged.
    """
    before, begin, rest = (root / README).read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise DataError(f"{README} must have the lines {BEGIN} and {END}, in this order.")
    reports = {name: read_headline(Layout(root, name).results) for name in params.modalities}
    return f"{before}{begin}\n{results(reports)}\n{end}{after}"


def results(reports: Mapping[str, Headline | None]) -> str:
    """Return the text between the markers: the table, the leaders by task kind, and the modalities not measured."""
    known = {name: report for name, report in reports.items() if report is not None}
    missing = [name for name in reports if name not in known]
    lines = []
    if known:
        lines += [*_table(known), "", *(f"- {name}: {leaders(one)}" for name, one in known.items())]
    if missing:
        lines += [
            "",
            f"Not in the table yet: {', '.join(missing)}. `make headline` measures them and writes the table.",
        ]
    return "\n".join(lines).strip()


def _table(reports: Mapping[str, Headline]) -> list[str]:
    """Return a sentence about the columns, and one table with the rows that decide in each modality."""
    shown = [(name, model) for name, report in reports.items() for model in _rows(report)]
    costs = cost_columns([model for _, model in shown])
    columns = ["mean", "the default minus it", *costs]
    lines = [
        (
            "Mean scores over task kinds and seeds, ± the standard deviation over seeds; brackets contain the "
            f"{CONFIDENCE:.0%} interval of a paired bootstrap. `default` is the student of all teachers, `only X` that of X "
            "alone, `undistilled` the student before training; no student learns from a rival. The reference needs all teachers: it "
            "is their joint embedding at the student's width. Of the teachers, and of the "
            "students of a single one, the best in the mean is shown. The last column lists the task kinds in which a model "
            "is above the default and the interval excludes zero."
        ),
        "",
        f"| | | {' | '.join(columns)} | above the default in |",
        f"|---|---|{'---:|' * len(columns)}---|",
    ]
    for place, (name, model) in enumerate(shown):
        link = f"[{name}](docs/results/{name}/{NAME}.md)" if model.name == DEFAULT else ""
        cells = [model.score_cell(OVERALL), model.lead_cell(OVERALL)]
        cells += [column[place] for column in costs.values()]
        ahead = _kinds_above_default(model, reports[name].tasks)
        lines.append(row(link, [model.first_cell, *cells, listed(ahead) or NOTHING]))
    return lines


def _rows(report: Headline) -> list[Model]:
    return [report.models[0], *(model for model in report.deciding if model.name != PAPER)]


def _kinds_above_default(model: Model, kinds: Iterable[str]) -> list[str]:
    return [kind for kind in kinds if (lead := model.lead(kind)) and verdict(lead) == BELOW]
