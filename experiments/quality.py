"""Quality of the student over several seeds: its gain over the undistilled student, with intervals.

This experiment is not a DVC stage. It shares the trials of the default method with the method comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from experiments.formatting import signed
from experiments.method_comparison import NAME as COMPARISON
from experiments.method_comparison import SEEDS, method_trials
from experiments.methods import chosen_methods
from experiments.paired import PairedScores
from experiments.scratch import require_embeddings, task_groups
from experiments.trials import Trial, TrialStore, run_missing
from polydistill.config.data import TaskParams
from polydistill.config.params import Params
from polydistill.contracts import Progress, silent
from polydistill.errors import DivergedError
from polydistill.evaluation.statistics.bootstrap import CONFIDENCE, RESAMPLES, Interval
from polydistill.project.layout import Layout
from polydistill.report.results import write_results
from polydistill.stages.evaluate import STUDENTS
from polydistill.stages.resolve import resolve


@dataclass(frozen=True)
class QualityReport:
    """The content of `docs/results/<modality>/quality.json`.

    Attributes:
        modality: The student's modality.
        seeds: The seeds of the distillations.
        tasks: The tasks of each kind that were available.
        means: The mean main score over tasks and seeds, by domain (`all`, `in-domain`, `out-of-domain`), model and
            task kind; the kind `mean` is the mean over kinds.
        gains: The student's score minus the undistilled student's, with a paired-bootstrap interval, by domain and
            task kind.
        gap_closed: The share of the gap between the undistilled student and the best teacher that distillation closes,
            by domain and task kind; kinds in which no teacher is better than the undistilled student are left out.
        by_seed: The student's mean main score, by seed and task kind.
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
    """Distil and evaluate a student per seed, compare them, and write `docs/results/<modality>/quality.{json,md}`.

    Raises:
        MissingDataError: A teacher's embeddings are missing.
        DivergedError: A student's training diverged.
        PolydistillError: See the distill and evaluate stages.
    """
    root, block = root.resolve(), params.modality(modality)
    resolve(params, modality)
    require_embeddings(root, params, modality)
    default = chosen_methods(params, modality, [])
    trials = method_trials(params, modality, default, seeds)
    store = TrialStore(root, modality, COMPARISON)
    run_missing(store, trials, progress)
    tables = _with_teachers([_predictions(store, trial) for trial in trials])
    groups = task_groups(root, params, modality)
    report = compare(modality, dict(zip(seeds, tables, strict=True)), block.tasks, groups)
    write_quality(report, Layout(root, modality).results)
    return report


def _predictions(store: TrialStore, trial: Trial) -> pd.DataFrame:
    table = store.predictions(trial)
    if table is None:
        raise DivergedError(f"{trial.label}: {store.record(trial)['diverged']}")
    return table


def _with_teachers(tables: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Add the teachers' predictions, which are computed only once, to the table of every seed."""
    students_only = [table[table["model"].isin(STUDENTS)] for table in tables]
    teachers = [table[~table["model"].isin(STUDENTS)] for table in tables]
    return [pd.concat([students, *teachers], ignore_index=True) for students in students_only]


def compare(
    modality: str,
    tables: Mapping[int, pd.DataFrame],
    tasks: Mapping[str, TaskParams],
    groups: Mapping[str, pd.Series] | None = None,
) -> QualityReport:
    """Compare the students of several seeds by their predictions.

    `groups` holds the group of each example by its id, for the tasks that have groups. See `PairedScores`.
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
    """Write `quality.json` and `quality.md`; the same report gives the same bytes."""
    write_results(folder, "quality", asdict(report), markdown(report))


def markdown(report: QualityReport) -> str:
    """Return the report as Markdown, with one table per domain."""
    lines = [
        f"# Quality of the {report.modality} student",
        "",
        (
            f"Means over the seeds {', '.join(map(str, report.seeds))}. The gain is the student minus the undistilled "
            f"student, with the {CONFIDENCE:.0%} interval of a paired bootstrap ({RESAMPLES:,} resamples; a group of "
            "examples, such as the sentences of a document, is drawn as a whole). "
            f"`python -m experiments quality {report.modality}` writes this page."
        ),
    ]
    for domain, by_model in report.means.items():
        kinds = list(report.gains[domain])
        lines += ["", f"## {domain.capitalize()} tasks", ""]
        lines += [f"| | {' | '.join(kinds)} |", f"|---|{'---:|' * len(kinds)}"]
        for model, values in by_model.items():
            lines.append(f"| {model} | {' | '.join(f'{values[kind]:.3f}' for kind in kinds)} |")
        gains = [report.gains[domain][kind] for kind in kinds]
        lines.append(f"| **gain** | {' | '.join(signed(gain) for gain in gains)} |")
        if closed := report.gap_closed[domain]:
            shares = ", ".join(f"{kind} {share:.0%}" for kind, share in closed.items())
            lines += [
                "",
                f"Share of the gap to the best teacher that distillation closes: {shares}.",
            ]
    return "\n".join(lines) + "\n"


def _gap_closed(means: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the values of `QualityReport.gap_closed` for one domain, by task kind."""
    teachers = [by_kind for model, by_kind in means.items() if model not in STUDENTS]
    closed = {}
    for kind, start in means["undistilled"].items():
        lead = max((by_kind[kind] for by_kind in teachers), default=start) - start
        if lead > 0:
            closed[kind] = (means["student"][kind] - start) / lead
    return closed
