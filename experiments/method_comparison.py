"""The method comparison: distil with each method and seed, evaluate, and compare.

No stage of DVC: each cell runs in a scratch project, and what it predicted is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from experiments.comparison import (
    TEACHER,
    MethodsReport,
    Progressed,
    compare_methods,
)
from experiments.comparison_page import markdown
from experiments.forest_plot import forest
from experiments.methods import DEFAULT, UNDISTILLED, Method, all_methods
from experiments.scratch import require_embeddings, task_groups
from experiments.trials import Cell, KeptCells, make_missing
from polydistill.config.overrides import changed
from polydistill.config.params import Params
from polydistill.contracts import Progress, silent
from polydistill.errors import MissingDataError
from polydistill.evaluation.statistics.paired import PairedScores
from polydistill.project.layout import Layout
from polydistill.report.results import write_results
from polydistill.stages.evaluate import STUDENTS
from polydistill.stages.resolve import resolve

SEEDS = (0, 1, 2)
NAME = "methods"


def compare_over_seeds(  # noqa: PLR0913 - methods and seeds are there for smaller comparisons
    root: Path,
    params: Params,
    modality: str,
    *,
    methods: Sequence[Method] | None = None,
    seeds: Sequence[int] = SEEDS,
    at_most: int | None = None,
    progress: Progress = silent,
) -> MethodsReport:
    """Make the cells that are missing, and write `docs/results/<modality>/methods.{json,md,svg}` when all are there.

    Args:
        root: The project folder, whose embeddings are up to date.
        params: Its parameters: the default.
        modality: A block of them.
        methods: To compare, the default first; none: `all_methods`.
        seeds: Of each method.
        at_most: Make so many cells, then stop; none: all. 0: look at what there is.
        progress: Told after each cell, and inside it.

    Raises:
        MissingDataError: A teacher's embeddings are not there; or no cell of the default is.
        PolydistillError: See the distill and evaluate stages.
    """
    methods = methods or all_methods(params, modality)
    cells = method_cells(params, modality, methods, seeds)
    for cell in cells:
        resolve(cell.params, modality)
    require_embeddings(root, params, modality)
    kept = KeptCells(root, modality, NAME)
    make_missing(kept, cells, progress, at_most=at_most)
    report = _report(root, params, modality, methods, cells, kept)
    if report.progressed.is_complete:
        write_comparison(report, Layout(root, modality).results)
    return report


def method_cells(
    params: Params, modality: str, methods: Sequence[Method], seeds: Sequence[int]
) -> list[Cell]:
    """Return every method with the first seed, then with the next.

    The default's cells evaluate the undistilled student too, and the first one the teachers: neither depends on
    the method, and teachers on no seed.
    """
    teachers = tuple(params.enabled_teachers(modality))
    return [
        Cell(
            method.name,
            changed(params, {**method.overrides, "seed": seed}),
            (
                STUDENTS[:1]
                if method.name != DEFAULT
                else (*STUDENTS, *(teachers if seed == seeds[0] else ()))
            ),
        )
        for seed in seeds
        for method in methods
    ]


def write_comparison(report: MethodsReport, folder: Path) -> None:
    """Write the results; the same report writes the same bytes."""
    stand = report.domains["all"].standings
    gains = {
        kind: {
            method: gain
            for method, by_kind in stand.items()
            if (gain := by_kind[kind].gain) is not None and method != UNDISTILLED
        }
        for kind in reversed(stand[DEFAULT])
    }
    figure = forest(NAME, gains, "main score, minus the default")
    write_results(folder, NAME, asdict(report), markdown(report), figure=figure)


def _report(
    root: Path,
    params: Params,
    modality: str,
    methods: Sequence[Method],
    cells: Sequence[Cell],
    kept: KeptCells,
) -> MethodsReport:
    """Compare what is there."""
    finished = [cell for cell in cells if kept.is_finished(cell)]
    tables = _tables(finished, kept)
    if not any((table["model"] == DEFAULT).any() for table in tables.values()):
        raise MissingDataError("No cell of the default is finished yet: nothing to compare with.")
    records = [(cell, kept.record(cell)) for cell in finished]
    paired = PairedScores(
        tables, params.modality(modality).tasks, task_groups(root, params, modality)
    )
    students: dict[str, dict[str, str]] = {}
    for cell, record in records:
        if "student_sha256" in record:
            by_seed = students.setdefault(cell.name, {})
            by_seed[str(cell.params.seed)] = str(record["student_sha256"])
    return MethodsReport(
        modality=modality,
        seeds=tuple(dict.fromkeys(cell.params.seed for cell in cells)),
        progressed=Progressed(
            finished=len(finished),
            cells=len(cells),
            diverged=tuple(cell.label for cell, record in records if "diverged" in record),
        ),
        methods={method.name: method.about for method in methods},
        domains=compare_methods(paired, methods),
        students=students,
    )


def _tables(finished: Sequence[Cell], kept: KeptCells) -> dict[int, pd.DataFrame]:
    """Return, by seed, the predictions under the names of methods, `undistilled` and teachers.

    Teachers know no seed: what they predicted once stands beside every seed's students.
    """
    by_seed: dict[int, list[pd.DataFrame]] = {}
    teachers: list[pd.DataFrame] = []
    for cell in finished:
        table = kept.predictions(cell)
        if table is None:
            continue
        names = {
            model: cell.name
            if model == "student"
            else UNDISTILLED
            if model == "undistilled"
            else TEACHER + model
            for model in cell.models
        }
        named = table.assign(model=table["model"].map(names))
        is_teacher = named["model"].str.startswith(TEACHER)
        by_seed.setdefault(cell.params.seed, []).append(named[~is_teacher])
        teachers.append(named[is_teacher])
    for tables in by_seed.values():
        tables.extend(teachers)
    return {seed: pd.concat(tables, ignore_index=True) for seed, tables in by_seed.items()}
