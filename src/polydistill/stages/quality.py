"""Quality over seeds: is the distilled student better than the undistilled one, and how sure is that?

No stage of DVC: it distils anew for each seed, in scratch, from the embeddings that are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polydistill.errors import MissingDataError
from polydistill.layout import Layout
from polydistill.modalities import MODALITIES
from polydistill.params import Params, TaskParams
from polydistill.progress import Progress, silent
from polydistill.registry.bootstrap import Interval, interval, resampled_means
from polydistill.results import write_results
from polydistill.stages.distill import distill
from polydistill.stages.evaluate import evaluate
from polydistill.tables import read_tasks

RESAMPLES = 10_000
CONFIDENCE = 0.95
OWN_FOLDERS = {"artifacts", "reports", ".polydistill", ".git", ".dvc", ".venv"}
OVERALL = "mean"
DOMAINS = {"all": None, "in-domain": "in", "out-of-domain": "out"}
STUDENTS = ("student", "undistilled")


@dataclass(frozen=True)
class QualityReport:
    """What `docs/results/quality.json` holds.

    Attributes:
        modality: Of the student.
        seeds: Of the distillations.
        tasks: Task kind: the tasks that were there.
        means: Domain (`all`, `in-domain`, `out-of-domain`), model, task kind: mean main score over tasks
            and seeds; the kind `mean` is the mean over kinds.
        gains: Domain, task kind: student minus undistilled, with a paired-bootstrap interval.
        gap_closed: Domain: the share of the best teacher's lead over the undistilled student in clustering
            that distillation closes; none where no teacher leads.
        by_seed: Seed, task kind: the student's mean main score.
    """

    modality: str
    seeds: tuple[int, ...]
    tasks: dict[str, list[str]]
    means: dict[str, dict[str, dict[str, float]]]
    gains: dict[str, dict[str, Interval]]
    gap_closed: dict[str, float | None]
    by_seed: dict[str, dict[str, float]]


def quality(
    root: Path,
    params: Params,
    modality: str,
    seeds: Sequence[int] = (0, 1, 2),
    *,
    progress: Progress = silent,
) -> QualityReport:
    """Distil and evaluate once a seed, compare, and write `docs/results/quality.{json,md}`.

    Raises:
        MissingDataError: A teacher's embeddings are not there.
        PolydistillError: See the distill and evaluate stages.
    """
    root, block = root.resolve(), params.modality(modality)
    for teacher in params.active_teachers(modality):
        folder = Layout(root, modality).embeddings("benchmark", teacher)
        if not folder.exists():
            raise MissingDataError(f"No embeddings in {folder}: `dvc repro evaluate@{modality}`.")
    tables = {}
    for number, seed in enumerate(seeds, 1):
        place = _scratch_project(root, modality, seed)
        own = params.model_copy(update={"seed": seed})
        distill(place, own, modality, progress=progress)
        evaluate(place, own, modality, progress=progress)
        tables[seed] = pd.read_parquet(Layout(place, modality).predictions)
        progress("quality", number, len(seeds))
    frames = read_tasks(root, block.tasks, MODALITIES.get(modality)())
    groups = {
        name: frame.set_index("id")["group"] for name, frame in frames.items() if "group" in frame
    }
    report = compare(modality, tables, block.tasks, groups)
    write_quality(report, root / "docs" / "results")
    return report


def compare(
    modality: str,
    tables: Mapping[int, pd.DataFrame],
    tasks: Mapping[str, TaskParams],
    groups: Mapping[str, pd.Series] | None = None,
) -> QualityReport:
    """Compare the students of several seeds, by their predictions.

    Scores are averaged over seeds for each example; then each task's groups are resampled, tasks apart.
    `groups` has, for a task that knows any, the group of each example by its id. A kind is the mean of its tasks, and `mean` the mean of the kinds. Two tasks on the same rows
    (classification and clustering) count as apart.
    """
    groups = groups or {}
    examples = {
        str(task): rows.pivot(index="example", columns="model", values="score")
        for task, rows in pd.concat(tables.values())
        .groupby(["task", "model", "example"], sort=True, as_index=False)["score"]
        .mean()
        .groupby("task")
    }
    names = {
        domain: _by_kind(examples, tasks, wanted) for domain, wanted in DOMAINS.items()
    }  # domain → kind → tasks
    draws = {
        task: resampled_means(
            frame["student"] - frame["undistilled"],
            groups=groups[task].loc[frame.index] if task in groups else None,
            resamples=RESAMPLES,
            generator=np.random.default_rng(crc32(task.encode())),
        )
        for task, frame in examples.items()
    }
    means = {domain: _means(examples, kinds) for domain, kinds in names.items() if kinds}
    return QualityReport(
        modality=modality,
        seeds=tuple(tables),
        tasks=names["all"],
        means=means,
        gains={domain: _gains(means[domain], names[domain], draws) for domain in means},
        gap_closed={domain: _gap_closed(by_model) for domain, by_model in means.items()},
        by_seed={
            str(seed): _seed_means(table, names["all"]) for seed, table in sorted(tables.items())
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
            "`polydistill quality` writes this page."
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
        if (closed := report.gap_closed[domain]) is not None:
            lines += ["", f"Gap to the best teacher in clustering that is closed: {closed:.0%}."]
    return "\n".join(lines) + "\n"


def _scratch_project(root: Path, modality: str, seed: int) -> Path:
    """Make a project folder that borrows the data and the embeddings of `root`."""
    place = Layout(root, modality).scratch / "quality" / f"{modality}-{seed}"
    there, here = Layout(root, modality), Layout(place, modality)
    here.artifacts.mkdir(parents=True, exist_ok=True)
    borrowed = {place / path.name: path for path in root.iterdir() if path.name not in OWN_FOLDERS}
    for name in ("embeddings", "local"):
        borrowed[here.artifacts / name] = there.artifacts / name
    for link, target in borrowed.items():
        if target.exists() and not link.is_symlink():
            link.symlink_to(target)
    return place


def _by_kind(
    examples: Mapping[str, pd.DataFrame], tasks: Mapping[str, TaskParams], domain: str | None
) -> dict[str, list[str]]:
    """Return task kind: tasks, of one domain or all."""
    kinds: dict[str, list[str]] = {}
    for task in examples:
        if domain in {None, tasks[task].domain}:
            kinds.setdefault(tasks[task].kind, []).append(task)
    return dict(sorted(kinds.items()))


def _means(
    examples: Mapping[str, pd.DataFrame], kinds: Mapping[str, list[str]]
) -> dict[str, dict[str, float]]:
    """Return model, task kind: mean score; students first."""
    frames = {
        kind: pd.DataFrame([examples[task].mean() for task in tasks]).mean()
        for kind, tasks in kinds.items()
    }
    known = set(next(iter(frames.values())).index)
    models = [*STUDENTS, *sorted(known - set(STUDENTS))]
    means = {
        model: {kind: float(frame[model]) for kind, frame in frames.items()} for model in models
    }
    return {
        model: {**by_kind, OVERALL: float(np.mean(list(by_kind.values())))}
        for model, by_kind in means.items()
    }


def _gains(
    means: Mapping[str, Mapping[str, float]],
    kinds: Mapping[str, list[str]],
    draws: Mapping[str, NDArray[np.float64]],
) -> dict[str, Interval]:
    """Return the student's gain in each kind, and over all kinds."""
    resampled = {
        kind: np.mean([draws[task] for task in tasks], axis=0) for kind, tasks in kinds.items()
    }
    resampled[OVERALL] = np.mean(list(resampled.values()), axis=0)
    return {
        kind: interval(
            means["student"][kind] - means["undistilled"][kind], drawn, confidence=CONFIDENCE
        )
        for kind, drawn in resampled.items()
    }


def _gap_closed(means: Mapping[str, Mapping[str, float]]) -> float | None:
    """Return the share of the best teacher's lead in clustering that the student has closed."""
    teachers = [by_kind for model, by_kind in means.items() if model not in STUDENTS]
    if "clustering" not in means["student"] or not teachers:
        return None
    start = means["undistilled"]["clustering"]
    lead = max(by_kind["clustering"] for by_kind in teachers) - start
    return (means["student"]["clustering"] - start) / lead if lead > 0 else None


def _seed_means(table: pd.DataFrame, kinds: Mapping[str, list[str]]) -> dict[str, float]:
    """Return the student's mean score in each kind, for one seed."""
    by_task = table[table["model"] == "student"].groupby("task")["score"].mean()
    found = {kind: float(by_task[tasks].mean()) for kind, tasks in kinds.items()}
    return {**found, OVERALL: float(np.mean(list(found.values())))}
