"""Mutual information (lower bound) between each model and each teacher, in nats, and its ratio to model size.

This is not a DVC stage: it reads the existing student, embeddings and scores.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polydistill.config.device import device_for
from polydistill.config.environment import use_threads
from polydistill.config.params import Params
from polydistill.contracts import FloatArray, Progress, silent
from polydistill.data.corpora import open_corpus
from polydistill.data.modalities import MODALITIES
from polydistill.embeddings.store import open_corpus_embeddings
from polydistill.errors import DataError
from polydistill.evaluation.information.sufficiency import Sufficiency, estimate_sufficiency
from polydistill.evaluation.statistics.kinds import kind_means
from polydistill.project.layout import Layout
from polydistill.project.reports import read_report
from polydistill.report.costs import model_sizes
from polydistill.report.results import TEMPLATES, write_results
from polydistill.students import encode, load_student
from polydistill.training.dataset import held_out_mask, seeded

MILLION = 1e6
POINTS = 100
"""Number of benchmark points that a mean score of 1 corresponds to."""


@dataclass(frozen=True)
class Density:
    """A model's information about the teachers and its score, relative to its size; None if unknown.

    Attributes:
        nats: Sum of the nats about all teachers other than the model itself.
        n_teachers: Number of those teachers.
        n_parameters: Number of parameters of the model.
        nats_per_million: Nats per million parameters.
        points: Mean main score over task kinds, in hundredths.
        points_per_million: Points per million parameters.
    """

    nats: float
    n_teachers: int
    n_parameters: int | None
    nats_per_million: float | None
    points: float | None
    points_per_million: float | None


@dataclass(frozen=True)
class InformationReport:
    """The content of `docs/results/<modality>/information.json`.

    Attributes:
        modality: The models' modality.
        n_rows: Number of rows that the estimators were fitted on, including validation rows.
        n_held_out: Number of held-out rows for the estimates; the student was not trained on them.
        sufficiency: By model and teacher, the model's information about the teacher.
        density: By model, the summed information relative to the model's size.
    """

    modality: str
    n_rows: int
    n_held_out: int
    sufficiency: dict[str, dict[str, Sufficiency]]
    density: dict[str, Density]


def information(
    root: Path, params: Params, modality: str, *, rows: int = 8_000, progress: Progress = silent
) -> InformationReport:
    """Estimate each model's information about each teacher; write `docs/results/<modality>/information.{json,md}`.

    Estimators are fitted on at most `rows` of the student's training rows and evaluated on its held-out rows. All
    models use the same rows: those for which every teacher has an embedding.

    Raises:
        MissingDataError: The corpus, the student or the undistilled student is missing.
        StoreError: A teacher's embeddings are missing or belong to other rows.
        DataError: There are too few rows for the width of a teacher.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    use_threads(params.threads)
    kind = MODALITIES.get(modality)()
    corpus = open_corpus(layout.corpus, block.corpus, kind)
    folders = layout.corpus_embeddings(params.enabled_teachers(modality))
    stored = open_corpus_embeddings(folders, corpus.ids)
    unseen = held_out_mask(corpus.groups, block.corpus.held_out)
    present = np.logical_and.reduce([one.present for one in stored.values()])
    chosen = _choose_rows(present, unseen, rows, params.seed)
    held_out = unseen[chosen]
    examples = [corpus.examples[row] for row in chosen.tolist()]
    groups = [corpus.groups[row] for row in chosen.tolist()]
    students = {
        model: encode(load_student(folder, device_for(params.device)), examples)
        for model, folder in (("student", layout.student), ("undistilled", layout.undistilled))
    }
    teachers = {name: one.take(chosen).values for name, one in stored.items()}
    found = measure(students, teachers, held_out, groups, seed=params.seed, progress=progress)
    sizes = {name: size.n_parameters for name, size in model_sizes(root, params, modality).items()}
    points: dict[str, float] = {}
    if layout.scores.exists():  # the evaluate stage has run
        means = kind_means(read_report(layout.scores, "evaluate"))
        points = {model: POINTS * fmean(kinds.values()) for model, kinds in means.items() if kinds}
    report = InformationReport(
        modality=modality,
        n_rows=int((~held_out).sum()),
        n_held_out=int(held_out.sum()),
        sufficiency=found,
        density=densities(found, sizes, points),
    )
    write_results(layout.results, "information", asdict(report), markdown(report))
    return report


def measure(
    students: Mapping[str, FloatArray],
    teachers: Mapping[str, FloatArray],
    held_out: NDArray[np.bool_],
    groups: ArrayLike,
    *,
    seed: int,
    progress: Progress = silent,
) -> dict[str, dict[str, Sufficiency]]:
    """Return, by model and teacher, the information of the model's `(n, dim)` embeddings about the teacher's."""
    tables = {**students, **teachers}
    pairs = [(model, teacher) for model in tables for teacher in teachers if model != teacher]
    found: dict[str, dict[str, Sufficiency]] = {model: {} for model in tables}
    for number, (model, teacher) in enumerate(pairs, 1):
        found[model][teacher] = estimate_sufficiency(
            tables[model], teachers[teacher], held_out, groups=groups, seed=seed
        )
        progress("information", number, len(pairs))
    return found


def densities(
    found: Mapping[str, Mapping[str, Sufficiency]],
    n_parameters: Mapping[str, int | None],
    points: Mapping[str, float],
) -> dict[str, Density]:
    """Return each model's summed nats and points, and their ratios to the model's size if it is known."""
    result = {}
    for model, by_teacher in found.items():
        size, score = n_parameters.get(model), points.get(model)
        nats = sum(one.nats for one in by_teacher.values())
        result[model] = Density(
            nats=nats,
            n_teachers=len(by_teacher),
            n_parameters=size,
            nats_per_million=nats / size * MILLION if size else None,
            points=score,
            points_per_million=score / size * MILLION if size and score is not None else None,
        )
    return result


def markdown(report: InformationReport) -> str:
    """Return the report as two tables."""
    columns = {name for row in report.sufficiency.values() for name in row}
    teachers = [model for model in report.sufficiency if model in columns]
    template = TEMPLATES.get_template("information.md.jinja")
    return template.render(report=report, teachers=teachers)


def _choose_rows(
    present: NDArray[np.bool_], held_out: NDArray[np.bool_], rows: int, seed: int
) -> NDArray[np.int64]:
    """Return the held-out rows and at most `rows` others, in the corpus's order."""
    if not (present & held_out).any():
        raise DataError("No held-out row has an embedding of every teacher: raise corpus.held_out.")
    trained = np.flatnonzero(present & ~held_out)
    drawn = seeded(seed, "rows of information").permutation(trained)[:rows]
    return np.sort(np.concatenate([drawn, np.flatnonzero(present & held_out)]))
