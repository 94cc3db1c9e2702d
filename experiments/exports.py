"""Score every export of the student on the tasks that cosines decide."""

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
"""Where cosines decide; a probe can undo whatever an export does."""
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
    """What `docs/results/<modality>/exports.json` holds.

    Attributes:
        modality: Of the student.
        student_sha256: Of its weights.
        rows: That each export was fitted to.
        dims: Export: width of its embeddings.
        scores: Export, task: main score.
        means: Export, task kind: mean main score; `mean` is the mean over kinds.
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

    `kinds` are those of the tasks; none: those of `KINDS` that the modality has.

    Raises:
        UnknownNameError: No task of `params.yaml` is of such a kind.
        ParamsError: None is of a kind in `KINDS`, and no other was asked for.
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
        scores[name] = {task.name: run.score for task, run in zip(tasks, runs, strict=True)}
        dims[name] = dims_here
        progress(f"exports {name}", done, len(plugins), score=fmean(scores[name].values()))
    report = ExportsReport(
        modality, revision, len(fitted), dims, scores, _means(scores, block, kinds)
    )
    write_results(Layout(root, modality).results, "exports", asdict(report), markdown(report))
    return report


def label(plugin: Plugin) -> str:
    """Return an export's name with its options, as `--option` takes them.

    Examples:
        >>> label(Plugin.model_validate({"name": "whitened", "shrinkage": 0.5}))
        'whitened shrinkage=0.5'
    """
    options = [f"{key}={json.dumps(value)}" for key, value in plugin.options.items()]
    return " ".join([plugin.name, *options])


def markdown(report: ExportsReport) -> str:
    """Return the report as one table, the best of each column in bold."""
    columns = [*next(iter(report.means.values())), *next(iter(report.scores.values()))]
    cells = {
        name: {**report.means[name], **report.scores[name]} for name in report.scores
    }  # a kind and a task never share a name
    best = {column: max(row[column] for row in cells.values()) for column in columns}
    lines = [
        f"# Exports of the {report.modality} student",
        "",
        (
            f"Main scores of the student {report.student_sha256[:12]} behind each export, fitted to "
            f"{report.rows:,} rows that it was trained on, without a label. "
            f"`python -m experiments compare-exports {report.modality}` writes this page."
        ),
        "",
        f"| export | dim | {' | '.join(columns)} |",
        f"|---|---:|{'---:|' * len(columns)}",
    ]
    for name, row in cells.items():
        numbers = [
            f"**{row[column]:.3f}**" if row[column] == best[column] else f"{row[column]:.3f}"
            for column in columns
        ]
        lines.append(f"| {name} | {report.dims[name]} | {' | '.join(numbers)} |")
    return "\n".join(lines) + "\n"


def _wanted_kinds(block: ModalityParams, modality: str, asked: Sequence[str]) -> list[str]:
    """Return the kinds to score, each of which a task is of."""
    known: set[str] = {task.kind for task in block.tasks.values()}
    for one in asked:
        if one not in known:
            raise UnknownNameError("task kind", one, known)
    wanted = list(asked) or [kind for kind in KINDS if kind in known]
    if not wanted:
        raise ParamsError(
            f"Modality {modality!r} must have a task in which cosines decide ({', '.join(KINDS)}), got "
            f"{', '.join(sorted(known))}: exports make no difference there. Name a kind to score it all "
            "the same (--kind)."
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
