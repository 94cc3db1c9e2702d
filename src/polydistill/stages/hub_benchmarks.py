"""Runs mteb's own benchmarks with the student and the teachers; no stage of DVC depends on it."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from polydistill.config.device import device_for
from polydistill.config.environment import use_threads
from polydistill.config.params import Params
from polydistill.contracts import FloatArray, Progress, Teacher, silent
from polydistill.errors import ParamsError, UnknownNameError
from polydistill.evaluation.encoder import revision_of
from polydistill.evaluation.hub_benchmarks import (
    HubRun,
    TextEncoder,
    run_hub_benchmarks,
    select_tasks,
)
from polydistill.project.layout import Layout
from polydistill.students import encode, load_student, weights_digest
from polydistill.teachers import build_teacher

MODALITY = "text"


def evaluate_on_hub(
    root: Path,
    params: Params,
    modality: str,
    names: Sequence[str],
    models: Sequence[str] = ("student",),
    *,
    progress: Progress = silent,
) -> HubRun:
    """Run mteb's benchmarks and tasks; results are kept in `artifacts/<modality>/mteb-benchmarks`.

    Args:
        root: The project folder.
        params: The project's parameters.
        modality: A block of the parameters.
        names: Names of mteb's benchmarks and tasks.
        models: `student`, `undistilled`, and names of enabled teachers and rivals.
        progress: Called after each task of each model.

    Raises:
        ParamsError: The modality is not text, or a model embeds no texts, such as a precomputed table.
        UnknownNameError: A model, benchmark or task is not known.
        MissingDataError: There is no student.
    """
    if modality != MODALITY:
        raise ParamsError(f"mteb's benchmarks are run with students of texts, got {modality!r}.")
    block = params.modality(modality)
    rows = block.enabled_teachers | block.enabled_rivals
    known = ["student", "undistilled", *rows]
    for name in models:
        if name in block.evaluation.rivals:
            raise ParamsError(
                f"The rival {name!r} is fitted to each of our tasks, and is no model of texts."
            )
        if name not in known:
            raise UnknownNameError("model", name, known)
    selected = select_tasks(names)
    layout = Layout(root, modality)
    use_threads(params.threads)
    encoders = _encoders(layout, params, list(dict.fromkeys(models)))
    return run_hub_benchmarks(encoders, selected, layout.mteb_benchmarks, progress)


def _encoders(layout: Layout, params: Params, models: Sequence[str]) -> Iterator[TextEncoder]:
    """Yield the models one at a time."""
    students = {"student": layout.student, "undistilled": layout.undistilled}
    block = params.modality(layout.modality)
    rows = block.enabled_teachers | block.enabled_rivals
    for name in models:
        if name in students:
            student = load_student(students[name], device_for(params.device))
            yield TextEncoder(name, weights_digest(students[name]), partial(encode, student))
            continue
        row = rows[name]
        teacher = build_teacher(name, row.family, row.options, params.threads, params.device)
        if teacher.by_id:
            raise ParamsError(f"{name!r} is a table of embeddings: it cannot embed other texts.")
        yield TextEncoder(name, revision_of(teacher.identity), partial(_embed, teacher))


def _embed(teacher: Teacher, texts: Sequence[str]) -> FloatArray:
    return teacher.embed(texts).values
