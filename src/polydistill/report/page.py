"""The report: one HTML file with everything in it, which asks the network for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from polydistill.config.params import ModalityParams, Params
from polydistill.evaluation.sizes import Size
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout
from polydistill.report.figures import Picture, quality_scatter, score_bars, training_curves
from polydistill.report.gate import DASH, NAMES, gate_tables
from polydistill.report.inputs import Inputs, read_inputs
from polydistill.report.speed import Measured, measure
from polydistill.report.summary import model_sizes, verdict_line
from polydistill.report.tables import (
    MEAN,
    STUDENT,
    UNDISTILLED,
    Table,
    best_teacher,
    means,
    model_order,
    require_known,
    retained,
    score_table,
    task_table,
)
from polydistill.training.tracking import flatten

DOMAINS = (
    (None, "All tasks"),
    ("in", "In-domain: tasks from the corpus's own sources"),
    ("out", "Out-of-domain: tasks from elsewhere"),
)
TEMPLATE = "page.html.jinja"


@dataclass(frozen=True)
class Headline:
    """One of the numbers that a reader should leave with.

    Attributes:
        name: What it is.
        value: The number, with its unit.
        context: What to compare it with.
    """

    name: str
    value: str
    context: str


@dataclass(frozen=True)
class Section:
    """A table of scores, with the student's share of the best teacher below each column."""

    title: str
    table: Table
    retained: tuple[float | None, ...]


def write_report(root: Path, params: Params, modality: str, *, speed: bool = True) -> Path:
    """Draw the page of a finished run.

    Args:
        root: The project folder.
        params: The run's parameters.
        modality: A block of `params.yaml`.
        speed: Measure student and teachers on this machine; without it the same files give the same bytes.

    Returns:
        The page, which replaces the one before with one rename.

    Raises:
        MissingDataError: There is no `scores.json`; with `speed`, no student or no corpus.
        DataError: A file is damaged, or does not belong to these parameters.
    """
    layout = Layout(root, modality)
    inputs = read_inputs(layout)
    require_known(inputs.scores, params.modality(modality).tasks)
    speeds = {one.model: one for one in measure(root, params, modality)} if speed else None
    sizes = model_sizes(root, params, modality)
    html = _render(layout, params, inputs, sizes, speeds)
    write_atomic(layout.page, html)
    return layout.page


def _render(
    layout: Layout,
    params: Params,
    inputs: Inputs,
    sizes: Mapping[str, Size],
    speeds: Mapping[str, Measured] | None,
) -> str:
    modality = layout.modality
    block = params.modality(modality)
    teachers = list(params.enabled_teachers(modality))
    by_model = means(inputs.scores, block.tasks)
    environment = Environment(
        loader=PackageLoader("polydistill.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": _score,
        "percent": _percent,
        "option": _option,
    }
    return environment.get_template(TEMPLATE).render(
        modality=modality,
        student=block.student.name,
        inputs=inputs,
        verdict_line=verdict_line(inputs),
        gate=gate_tables((inputs.verdict or {}).get("rules", ())),
        rule_names=NAMES,
        headlines=_headlines(by_model, sizes, speeds),
        sections=_sections(inputs, block, teachers),
        tasks=task_table(inputs.scores, block.tasks, teachers, params.labels_seen(modality)),
        absent=[name for name in teachers if name not in inputs.scores],
        bars=_bars(by_model, model_order(inputs.scores, teachers)),
        curves=_curves(inputs, block),
        loss=block.loss.name,
        scatters=_scatters(by_model, sizes, speeds),
        unknown_sizes=[m for m in (STUDENT, *teachers) if not _megabytes(sizes.get(m))],
        speeds=None if speeds is None else list(speeds.values()),
        threads=params.threads,
        failed_rules=[r for r in (inputs.validation or {}).get("rules", []) if not r["success"]],
        has_data_docs=(layout.data_docs / "index.html").exists(),
        unavailable=_unavailable(inputs.local_status),
        is_sentence_transformer=(layout.student / "modules.json").exists(),
        settings=_settings(params, modality),
    )


def _headlines(
    by_model: Mapping[str, Mapping[str, float]],
    sizes: Mapping[str, Size],
    speeds: Mapping[str, Measured] | None,
) -> list[Headline]:
    """Return quality, its share of the best teacher, size and speed, as far as they are known."""
    mine = by_model[STUDENT].get(MEAN)
    before = by_model.get(UNDISTILLED, {}).get(MEAN)
    teacher = best_teacher(by_model)
    headlines = []
    if mine is not None:
        context = "" if before is None else f"undistilled {before:.3f}, change {mine - before:+.3f}"
        headlines.append(Headline("Mean score", _score(mine), context))
    share = retained(by_model)
    if share is not None and teacher is not None:
        context = f"{teacher}, the best of them, has {by_model[teacher][MEAN]:.3f}"
        headlines.append(Headline("Of the best teacher", _percent(share), context))
    own, other = _megabytes(sizes.get(STUDENT)), _megabytes(sizes.get(teacher or ""))
    if own is not None:
        count = sizes[STUDENT].n_parameters
        parts = [] if count is None else [f"{count / 1e6:.1f} M parameters"]
        parts += [] if other is None else [f"{teacher} has {other:,.0f} MB"]
        headlines.append(Headline("Size", f"{own:,.1f} MB", ", ".join(parts)))
    fast, slow = _rate(speeds, STUDENT), _rate(speeds, teacher or "")
    if fast is not None:
        context = "" if slow is None else f"{fast / slow:,.1f} times {teacher}, with {slow:,.0f}"
        headlines.append(Headline("Examples a second", f"{fast:,.0f}", context))
    return headlines


def _sections(inputs: Inputs, block: ModalityParams, teachers: Sequence[str]) -> list[Section]:
    sections = []
    for domain, title in DOMAINS:
        table = score_table(inputs.scores, block.tasks, teachers, domain)
        by_model = means(inputs.scores, block.tasks, domain)
        if table.columns:
            shares = tuple(retained(by_model, column) for column in table.columns)
            sections.append(Section(title, table, shares))
    return sections


def _bars(by_model: Mapping[str, Mapping[str, float]], models: Sequence[str]) -> list[Picture]:
    kinds = sorted({kind for kinds in by_model.values() for kind in kinds} - {MEAN})
    return [score_bars(by_model, models, kind, place) for place, kind in enumerate(kinds)]


def _curves(inputs: Inputs, block: ModalityParams) -> list[Picture]:
    if inputs.history is None:
        return []
    unit = "nats per dimension" if block.loss.name.endswith("-nll") else f"{block.loss.name} loss"
    return training_curves(inputs.history, unit, (inputs.distillation or {}).get("best_step"))


def _scatters(
    by_model: Mapping[str, Mapping[str, float]],
    sizes: Mapping[str, Size],
    speeds: Mapping[str, Measured] | None,
) -> list[Picture]:
    scores = {model: by_kind[MEAN] for model, by_kind in by_model.items() if MEAN in by_kind}
    costs = {
        ("size", "weights on disk, MB", "Size against quality: better is up and left."): {
            model: _megabytes(sizes.get(model)) for model in scores
        },
        ("speed", "examples a second", "Speed against quality: better is up and right."): {
            model: _rate(speeds, model) for model in scores
        },
    }
    pictures = []
    for (name, axis, caption), by_name in costs.items():
        points = {m: (cost, scores[m]) for m, cost in by_name.items() if cost}
        if points:
            pictures.append(quality_scatter(points, name, axis, caption))
    return pictures


def _settings(params: Params, modality: str) -> dict[str, object]:
    """Return what the run was given: the general parameters and the modality's own."""
    tree = params.model_dump(mode="json", exclude={*params.modalities, "modalities"})
    tree["enabled teachers"] = ", ".join(params.enabled_teachers(modality))
    return flatten(tree | {modality: params.modality(modality).model_dump(mode="json")})


def _unavailable(status: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the third-party tasks that are not here, and why, where that is known."""
    names = (status or {}).get("unavailable", {})
    return dict(names) if isinstance(names, Mapping) else dict.fromkeys(names, "")


def _megabytes(size: Size | None) -> float | None:
    return None if size is None or size.weight_bytes is None else size.weight_bytes / 1e6


def _rate(speeds: Mapping[str, Measured] | None, model: str) -> float | None:
    return None if speeds is None or model not in speeds else speeds[model].examples_per_s


def _score(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.1f} %"


def _option(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)
