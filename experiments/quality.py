"""Quality over seeds: is the distilled student better than the undistilled one, and how sure is that?

No stage of DVC: its cells are those of the method comparison's default, made once for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from experiments.method_comparison import NAME as METHODS
from experiments.method_comparison import SEEDS, method_cells
from experiments.methods import chosen_methods
from experiments.scratch import require_embeddings, task_groups
from experiments.trials import Cell, KeptCells, make_missing
from polydistill.config.data import TaskParams
from polydistill.config.params import Params
from polydistill.contracts import Progress, silent
from polydistill.errors import DivergedError
from polydistill.evaluation.statistics.bootstrap import Interval
from polydistill.evaluation.statistics.paired import CONFIDENCE, RESAMPLES, PairedScores
from polydistill.project.layout import Layout
from polydistill.report.results import write_results
from polydistill.stages.evaluate import STUDENTS
from polydistill.stages.resolve import resolve


@dataclass(frozen=True)
class QualityReport:
    """What `docs/results/<modality>/quality.json` holds.

    Attributes:
        modality: Of the student.
        seeds: Of the distillations.
        tasks: Task kind: the tasks that were there.
        means: Domain (`all`, `in-domain`, `out-of-domain`), model, task kind: mean main score over tasks
            and seeds; the kind `mean` is the mean over kinds.
        gains: Domain, task kind: student minus undistilled, with a paired-bootstrap interval.
        gap_closed: Domain, task kind: the share of the best teacher's lead over the undistilled student that
            distillation closes; a kind in which no teacher leads is left out.
        by_seed: Seed, task kind: the student's mean main score.
    """

    modality: str
    seeds: tuple[int, ...]
    tasks: dict[str, list[str]]
    means: dict[str, dict[str, dict[str, float]]]
    gains: dict[str, dict[str, Interval]]
    gap_closed: dict[str, dict[str, float]]
    by_seed: dict[str, dict[str, float]]


def quality(
    root: Path,
    params: Params,
    modality: str,
    seeds: Sequence[int] = SEEDS,
    *,
    progress: Progress = silent,
) -> QualityReport:
    """Distil and evaluate once a seed, compare, and write `docs/results/<modality>/quality.{json,md}`.

    Raises:
        MissingDataError: A teacher's embeddings are not there.
        DivergedError: A student's training diverged.
        PolydistillError: See the distill and evaluate stages.
    """
    root, block = root.resolve(), params.modality(modality)
    resolve(params, modality)
    require_embeddings(root, params, modality)
    default = chosen_methods(params, modality, [])
    cells = method_cells(params, modality, default, seeds)
    kept = KeptCells(root, modality, METHODS)
    make_missing(kept, cells, progress)
    tables = _with_teachers([_predictions(kept, cell) for cell in cells])
    groups = task_groups(root, params, modality)
    report = compare(modality, dict(zip(seeds, tables, strict=True)), block.tasks, groups)
    write_quality(report, Layout(root, modality).results)
    return report


def _predictions(kept: KeptCells, cell: Cell) -> pd.DataFrame:
    table = kept.predictions(cell)
    if table is None:
        raise DivergedError(f"{cell.label}: {kept.record(cell)['diverged']}")
    return table


def _with_teachers(tables: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Put what the teachers predicted, once, beside the students of every seed."""
    alone = [table[table["model"].isin(STUDENTS)] for table in tables]
    teachers = [table[~table["model"].isin(STUDENTS)] for table in tables]
    return [pd.concat([students, *teachers], ignore_index=True) for students in alone]


def compare(
    modality: str,
    tables: Mapping[int, pd.DataFrame],
    tasks: Mapping[str, TaskParams],
    groups: Mapping[str, pd.Series] | None = None,
) -> QualityReport:
    """Compare the students of several seeds, by their predictions.

    `groups` has, for a task that knows any, the group of each example by its id. See `PairedScores`.
    """
    paired = PairedScores(tables, tasks, groups)
    models = [*STUDENTS, *(model for model in paired.models if model not in STUDENTS)]
    means = {
        domain: {
            model: {kind: paired.mean(domain, kind, model) for kind in paired.kinds(domain)}
            for model in models
        }
        for domain in paired.tasks
    }
    return QualityReport(
        modality=modality,
        seeds=tuple(tables),
        tasks=paired.tasks["all"],
        means=means,
        gains={
            domain: {
                kind: paired.difference(domain, kind, *STUDENTS) for kind in paired.kinds(domain)
            }
            for domain in paired.tasks
        },
        gap_closed={domain: _gap_closed(by_model) for domain, by_model in means.items()},
        by_seed={
            str(seed): {
                kind: paired.mean("all", kind, "student", [seed]) for kind in paired.kinds("all")
            }
            for seed in sorted(tables)
        },
    )


def write_quality(report: QualityReport, folder: Path) -> None:
    """Write `quality.json` and `quality.md`; the same report writes the same bytes."""
    write_results(folder, "quality", asdict(report), markdown(report))


def markdown(report: QualityReport) -> str:
    """Return the report as tables, one a domain."""
    lines = [
        f"# Quality of the {report.modality} student",
        "",
        (
            f"Means over seeds {', '.join(map(str, report.seeds))}; gain is student minus undistilled, with a "
            f"paired-bootstrap {CONFIDENCE:.0%} interval ({RESAMPLES:,} resamples; a group of examples, such as the "
            "sentences of a document, is drawn whole). "
            "`python -m experiments quality` writes this page."
        ),
    ]
    for domain, by_model in report.means.items():
        kinds = list(report.gains[domain])
        lines += ["", f"## {domain.capitalize()} tasks", ""]
        lines += [f"| | {' | '.join(kinds)} |", f"|---|{'---:|' * len(kinds)}"]
        for model, values in by_model.items():
            lines.append(f"| {model} | {' | '.join(f'{values[kind]:.3f}' for kind in kinds)} |")
        gains = [report.gains[domain][kind] for kind in kinds]
        cells = [f"{g.mean:+.3f} [{g.low:+.3f}, {g.high:+.3f}]" for g in gains]
        lines.append(f"| **gain** | {' | '.join(cells)} |")
        if closed := report.gap_closed[domain]:
            shares = ", ".join(f"{kind} {share:.0%}" for kind, share in closed.items())
            lines += ["", f"Gap to the best teacher that is closed: {shares}."]
    return "\n".join(lines) + "\n"


def _gap_closed(means: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return, by task kind, the share of the best teacher's lead that the student has closed."""
    teachers = [by_kind for model, by_kind in means.items() if model not in STUDENTS]
    closed = {}
    for kind, start in means["undistilled"].items():
        lead = max((by_kind[kind] for by_kind in teachers), default=start) - start
        if lead > 0:
            closed[kind] = (means["student"][kind] - start) / lead
    return closed
