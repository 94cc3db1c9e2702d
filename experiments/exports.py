"""Score every export of the student on the tasks that depend on cosine similarity alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from polydistill.config.nodes import Plugin
from polydistill.config.params import ModalityParams, Params
from polydistill.contracts import Embeddings, Progress, silent
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import benchmark_inputs, read_tasks
from polydistill.errors import ParamsError, UnknownNameError
from polydistill.evaluation.benchmark import build_tasks, run_tasks
from polydistill.evaluation.encoder import LookupEncoder
from polydistill.project.layout import Layout
from polydistill.report.results import write_results
from polydistill.stages.exports import fit_export, trained_embeddings
from polydistill.students import encode, load_student, weights_digest

KINDS = ("clustering", "retrieval", "sts")
"""The task kinds that depend on cosine similarity alone. In other kinds, a probe can undo the effect of an export."""
VARIANTS: tuple[Mapping[str, object], ...] = (
    {"name": "plain"},
    {"name": "whitened", "shrinkage": 1.0},
    {"name": "whitened", "shrinkage": 0.5},
    {"name": "whitened", "shrinkage": 0.1},
    {"name": "whitened", "shrinkage": 0.0},
    {"name": "predicted-consensus"},
    {"name": "predicted-consensus", "standardised": True},
)


@dataclass(frozen=True)
class ExportsReport:
    """The content of `docs/results/<modality>/exports.json`.

    Attributes:
        modality: The student's modality.
        student_sha256: The sha256 of the student's weights.
        rows: The number of rows that each export was fitted to.
        dims: The embedding width of each export.
        scores: The main score by export and task.
        means: The mean main score by export and task kind; `mean` is the mean over kinds.
    """

    modality: str
    student_sha256: str
    rows: int
    dims: dict[str, int]
    scores: dict[str, dict[str, float]]
    means: dict[str, dict[str, float]]


def compare_exports(
    root: Path,
    params: Params,
    modality: str,
    *,
    kinds: Sequence[str] = (),
    progress: Progress = silent,
) -> ExportsReport:
    """Score every export in `VARIANTS`; write `docs/results/<modality>/exports.{json,md}`.

    `kinds` are the task kinds to score. If it is empty, the kinds in `KINDS` for which the modality has tasks are
    scored.

    Raises:
        UnknownNameError: A kind in `kinds` has no task in `params.yaml`.
        ParamsError: `kinds` is empty, and no task has a kind in `KINDS`.
        PolydistillError: See `evaluate` and `export_student`.
    """
    block, layout = params.modality(modality), Layout(root, modality)
    kinds = _wanted_kinds(block, modality, kinds)
    plugins = [Plugin.model_validate(variant) for variant in VARIANTS]
    fitted = trained_embeddings(root, params, modality)
    kind = MODALITIES.get(modality)()
    wanted = {name: task for name, task in block.tasks.items() if task.kind in kinds}
    frames = read_tasks(root, wanted, kind)
    tasks = build_tasks(frames, block.tasks, block.evaluation, kind)
    inputs = benchmark_inputs(frames, wanted, kind)
    plain = encode(load_student(layout.student), inputs[kind.column].tolist())
    revision, ids = weights_digest(layout.student), inputs["id"].tolist()
    scores: dict[str, dict[str, float]] = {}
    dims = {}
    for done, plugin in enumerate(plugins, 1):
        values = fit_export(layout, plugin, fitted).apply(plain)
        name, dims_here = label(plugin), values.shape[1]
        everywhere = np.ones(len(ids), dtype=np.bool_)
        pinned = hashlib.sha256(f"{revision} {name}".encode()).hexdigest()
        encoder = LookupEncoder(name, pinned, ids, Embeddings(values, everywhere))
        runs = run_tasks(encoder, tasks, params.threads)
        scores[name] = {run.task: run.score for run in runs}
        dims[name] = dims_here
        progress(f"exports {name}", done, len(plugins), score=fmean(scores[name].values()))
    report = ExportsReport(
        modality, revision, len(fitted), dims, scores, _means(scores, block, kinds)
    )
    write_results(Layout(root, modality).results, "exports", asdict(report), markdown(report))
    return report


def label(plugin: Plugin) -> str:
    """Return the name of an export with its options, in the format of `--option`.

    Examples:
        >>> label(Plugin.model_validate({"name": "whitened", "shrinkage": 0.5}))
        'whitened shrinkage=0.5'
    """
    options = [f"{key}={json.dumps(value)}" for key, value in plugin.options.items()]
    return " ".join([plugin.name, *options])


def markdown(report: ExportsReport) -> str:
    """Return the whole page, with one table; the best score of each column is in bold."""
    columns = [*next(iter(report.means.values())), *next(iter(report.scores.values()))]
    scores = {
        name: {**report.means[name], **report.scores[name]} for name in report.scores
    }  # the names of kinds and tasks are distinct
    best = {column: max(row[column] for row in scores.values()) for column in columns}
    lines = [
        f"# Exports of the {report.modality} student",
        "",
        (
            f"Main scores of the student {report.student_sha256[:12]} with each export. The exports were fitted to "
            f"{report.rows:,} of its training rows, without labels. "
            f"`python -m experiments compare-exports {report.modality}` writes this page."
        ),
        "",
        f"| export | dim | {' | '.join(columns)} |",
        f"|---|---:|{'---:|' * len(columns)}",
    ]
    for name, row in scores.items():
        numbers = [
            f"**{row[column]:.3f}**" if row[column] == best[column] else f"{row[column]:.3f}"
            for column in columns
        ]
        lines.append(f"| {name} | {report.dims[name]} | {' | '.join(numbers)} |")
    return "\n".join(lines) + "\n"


def _wanted_kinds(block: ModalityParams, modality: str, requested: Sequence[str]) -> list[str]:
    """Return the kinds to score; at least one task has each of them."""
    known: set[str] = {task.kind for task in block.tasks.values()}
    for one in requested:
        if one not in known:
            raise UnknownNameError("task kind", one, known)
    wanted = list(requested) or [kind for kind in KINDS if kind in known]
    if not wanted:
        raise ParamsError(
            f"Modality {modality!r} must have a task that depends on cosine similarity ({', '.join(KINDS)}), got "
            f"{', '.join(sorted(known))}, where exports make no difference. To score such a kind anyway, name it "
            "with --kind."
        )
    return wanted


def _means(
    scores: Mapping[str, Mapping[str, float]], block: ModalityParams, kinds: Sequence[str]
) -> dict[str, dict[str, float]]:
    means: dict[str, dict[str, float]] = {}
    for name, by_task in scores.items():
        by_kind = {
            kind: [value for task, value in by_task.items() if block.tasks[task].kind == kind]
            for kind in kinds
        }
        own = {kind: fmean(values) for kind, values in by_kind.items() if values}
        means[name] = {**own, "mean": fmean(own.values())}
    return means
