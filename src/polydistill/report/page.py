"""The report: one self-contained HTML file, which loads nothing from the network."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from polydistill.config.describe import flatten
from polydistill.config.params import ModalityParams, Params
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout
from polydistill.project.reports import unavailable_rivals
from polydistill.report import tables
from polydistill.report.costs import measure, model_sizes
from polydistill.report.figures import Picture, quality_scatter, score_bars, training_curves
from polydistill.report.gate import NAMES, gate_tables
from polydistill.report.published import published_figures
from polydistill.report.results import TEMPLATES, Inputs, read_inputs
from polydistill.report.summary import usable_version, verdict_line

DOMAINS = {
    None: "All tasks",
    "in": "In-domain: tasks from the corpus's own sources",
    "out": "Out-of-domain: tasks from elsewhere",
}


def write_report(root: Path, params: Params, modality: str, *, speed: bool = True) -> Path:
    """Write the HTML report of a finished run.

    Args:
        root: The project folder.
        params: The run's parameters.
        modality: The modality, which is a block of `params.yaml`.
        speed: Whether to measure the speeds of student and teachers on this machine. If false, the page depends only
            on the run's files.

    Returns:
        The path of the page. An earlier page is replaced atomically.

    Raises:
        MissingDataError: There is no `scores.json`; with `speed`, no student or no corpus.
        DataError: A file is damaged, or does not belong to these parameters.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    inputs, teachers = read_inputs(layout), list(block.enabled_teachers)
    tables.require_known(inputs.scores, block.tasks)
    speeds = measure(root, params, modality) if speed else None
    sizes = model_sizes(root, params, modality)
    sections = {
        title: tables.mean_scores(inputs.scores, block.tasks, teachers, domain)
        for domain, title in DOMAINS.items()
    }
    means = sections[DOMAINS[None]]
    overall = tables.known(means[tables.MEAN]) if tables.MEAN in means else {}
    megabytes = {name: size.megabytes for name, size in sizes.items() if size.megabytes}
    rates = {one.model: one.examples_per_s for one in speeds or () if one.examples_per_s}
    html = TEMPLATES.get_template("page.html.jinja").render(
        modality=modality,
        block=block,
        inputs=inputs,
        verdict_line=verdict_line(inputs),
        gate=gate_tables((inputs.verdict or {}).get("rules", ())),
        rule_names=NAMES,
        overall=overall,
        best_teacher=tables.best_teacher(means, teachers),
        role_of=tables.role_of,
        teachers=teachers,
        unavailable_rivals=unavailable_rivals(layout, block.enabled_rivals),
        published=published_figures(modality),
        n_parameters=sizes[tables.STUDENT].n_parameters,
        megabytes=megabytes,
        rates=rates,
        sections=sections,
        shares_of_best_teacher=tables.shares_of_best_teacher,
        task_scores=tables.task_scores(inputs.scores, block.tasks, teachers),
        labels_seen=params.labels_seen(modality),
        absent=[name for name in teachers if name not in inputs.scores],
        bars=_bars(means),
        curves=_curves(inputs, block),
        scatters=_scatters(overall, megabytes, rates),
        unknown_sizes=[
            name
            for name in (tables.STUDENT, *teachers, *block.enabled_rivals)
            if name not in megabytes
        ],
        speeds=speeds,
        threads=params.threads,
        has_data_docs=(layout.data_docs / "index.html").exists(),
        is_sentence_transformer=_needs_no_code_of_ours(layout.student / "modules.json"),
        settings=_settings(params, modality),
        model=usable_version(modality, inputs.verdict),
    )
    write_atomic(layout.page, html)
    return layout.page


def _needs_no_code_of_ours(modules: Path) -> bool:
    """Return whether a bundle has modules of sentence-transformers, and only these."""
    return modules.exists() and "polydistill." not in modules.read_text(encoding="utf-8")


def _bars(means: pd.DataFrame) -> list[Picture]:
    return [
        score_bars(f"bars-{number}", tables.known(means[kind]), str(kind))
        for number, kind in enumerate(means.columns.drop(tables.MEAN, errors="ignore"))
    ]


def _curves(inputs: Inputs, block: ModalityParams) -> list[Picture]:
    if inputs.history is None:
        return []
    unit = "nats per dimension" if block.loss.name.endswith("-nll") else f"{block.loss.name} loss"
    return training_curves(inputs.history, unit, (inputs.distillation or {}).get("best_step"))


def _scatters(
    overall: Mapping[str, float], megabytes: Mapping[str, float], rates: Mapping[str, float]
) -> list[Picture]:
    figures = (
        ("size", megabytes, "weights on disk, MB", "Size against quality: better is up and left."),
        ("speed", rates, "examples per second", "Speed against quality: better is up and right."),
    )
    return [
        quality_scatter(name, points, axis, caption)
        for name, costs, axis, caption in figures
        if (points := {m: (costs[m], score) for m, score in overall.items() if m in costs})
    ]


def _settings(params: Params, modality: str) -> dict[str, object]:
    """Return the general parameters and those of the modality, by dotted key."""
    tree = params.model_dump(mode="json", exclude={*params.modalities, "modalities"})
    tree["enabled teachers"] = ", ".join(params.enabled_teachers(modality))
    return flatten(tree | {modality: params.modality(modality).model_dump(mode="json")})
