"""Quality of predicted embeddings on held-out rows: intervals, search and out-of-distribution scores.

This experiment is not a DVC stage. It reads the student, the heads, the embeddings and the report of the distillation.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.predictions_page import OutOfDistribution, PredictionsReport, Search, markdown
from polydistill.config.params import Params
from polydistill.contracts import FloatArray, Progress, silent
from polydistill.data.corpora import open_corpus
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import benchmark_inputs, read_tasks
from polydistill.embeddings.store import StoredEmbeddings, open_corpus_embeddings
from polydistill.errors import DataError, StoreError
from polydistill.export.predicted_embeddings import TeacherPredictor
from polydistill.project.layout import Layout
from polydistill.project.reports import read_report
from polydistill.report.results import write_results
from polydistill.students import encode, load_student, weights_digest
from polydistill.training.dataset import held_out_mask, seeded

NEIGHBOURS = 10
QUERIES = 1_000
INDEXED = 50_000
FLAGGED = 0.05
"""The share of held-out rows with an out-of-distribution score above the threshold; it defines the threshold."""
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def predictions(
    root: Path, params: Params, modality: str, *, progress: Progress = silent
) -> PredictionsReport:
    """Measure intervals, search and out-of-distribution scores; write `docs/results/<modality>/predictions.{json,md}`.

    Raises:
        MissingDataError: The corpus, the student or the report of its distillation is missing.
        StoreError: A teacher's embeddings are missing or belong to other rows, or the report describes another student.
        DataError: A task is empty, the held-out rows are not those of the distillation, or a teacher has too few rows.
        PolydistillError: See `TeacherPredictor.require`.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    torch.set_num_threads(params.threads)
    distilled = _distilled(layout)
    kind = MODALITIES.get(modality)()
    corpus = open_corpus(layout.corpus, block.corpus, kind)
    frames = read_tasks(root, block.tasks, kind)
    if empty := [name for name, frame in frames.items() if frame.empty]:
        raise DataError(
            f"Task {empty[0]!r} must have rows, got none: {block.tasks[empty[0]].path}."
        )
    stored = open_corpus_embeddings(
        layout.corpus_embeddings(params.enabled_teachers(modality)), corpus.ids
    )
    unseen = held_out_mask(corpus.groups, block.corpus.held_out)
    _require_same_rows(unseen, distilled)
    predictor, student = (
        TeacherPredictor(layout.heads, layout.student),
        load_student(layout.student),
    )
    for teacher, embeddings in stored.items():
        predictor.require(teacher, embeddings.identity_sha256)
    index = _draw(np.flatnonzero(~unseen), INDEXED, params.seed, "indexed rows")
    rows = np.concatenate([index, np.flatnonzero(unseen)])
    own = encode(student, [corpus.examples[row] for row in rows.tolist()])
    search = {}
    for done, (teacher, embeddings) in enumerate(stored.items(), 1):
        search[teacher] = _search(
            predictor, teacher, embeddings, (rows, own, len(index)), params.seed
        )
        progress("search", done, len(stored), predicted=search[teacher].predicted)
    scores, threshold = dict[str, OutOfDistribution](), None
    if predictor.scores_novelty:
        held_out = predictor.novelty(own[len(index) :])
        threshold = float(np.quantile(held_out, 1 - FLAGGED))
        for done, (name, frame) in enumerate(frames.items(), 1):
            task = block.tasks[name]
            inputs = benchmark_inputs({name: frame}, {name: task}, kind)[kind.column].tolist()
            unusual = predictor.novelty(encode(student, inputs))
            scores[name] = compare_scores(held_out, unusual, threshold, task.domain)
            progress("out-of-distribution", done, len(frames), auroc=scores[name].auroc)
    report = PredictionsReport(
        modality=modality,
        student_sha256=distilled["student_sha256"],
        scale=predictor.scale,
        coverage={
            teacher: (distilled["coverage_90_before"][teacher], after)
            for teacher, after in distilled["coverage_90"].items()
            if teacher in stored
        },
        n_indexed=len(index),
        n_queries=min(QUERIES, int(unseen.sum())),
        n_neighbours=NEIGHBOURS,
        search=search,
        flagged=FLAGGED,
        threshold=threshold,
        out_of_distribution=scores,
    )
    write_results(layout.results, "predictions", asdict(report), markdown(report))
    return report


def _distilled(layout: Layout) -> dict[str, Any]:
    """Return the report of the distillation that made the current student."""
    distilled = read_report(layout.distillation, "distill")
    found = weights_digest(layout.student)
    if found != distilled["student_sha256"]:
        raise StoreError(
            f"{layout.student} must hold the student {distilled['student_sha256'][:12]} that {layout.distillation} "
            f"describes, got {found[:12]}: run `dvc checkout`, or the distill stage."
        )
    return distilled


def _require_same_rows(unseen: NDArray[np.bool_], distilled: dict[str, Any]) -> None:
    """Check that the split has the same sizes as in the distillation; else training rows could count as held out."""
    found = {"n_train": int((~unseen).sum()), "n_held_out": int(unseen.sum())}
    expected = {key: distilled[key] for key in found}
    if found != expected:
        raise DataError(
            f"The student was distilled with {expected['n_train']:,} training and {expected['n_held_out']:,} held-out rows, "
            f"but params.yaml now gives {found['n_train']:,} and {found['n_held_out']:,}: run the distill stage."
        )


def _search(
    predictor: TeacherPredictor,
    teacher: str,
    embeddings: StoredEmbeddings,
    encoded: tuple[Ints, FloatArray, int],
    seed: int,
) -> Search:
    """Compare the searches on rows for which the teacher's embeddings are stored.

    `encoded` has three items: row numbers in the corpus, `(n,)`; the student's embeddings of these rows, `(n, dim)`;
    and the size of the index. The rows of the index come first, then those of the queries.
    """
    rows, own, n_index = encoded
    present = np.flatnonzero(embeddings.present[rows])
    indexed = present[present < n_index]
    queried = _draw(present[present >= n_index], QUERIES, seed, "queries")
    if len(indexed) <= NEIGHBOURS or not len(queried):
        raise DataError(
            f"Teacher {teacher!r} must have embedded more than {NEIGHBOURS} training rows and at least one held-out "
            f"row, got {len(indexed)} and {len(queried)}: use more rows of the corpus."
        )
    predicted, _ = predictor.predict(own[queried], teacher)
    index, queries = (embeddings.take(rows[some]).values for some in (indexed, queried))
    return compare_search((index, queries), (own[indexed], own[queried]), predicted)


def compare_scores(
    held_out: Floats, inputs: Floats, threshold: float, domain: str
) -> OutOfDistribution:
    """Compare the out-of-distribution scores of a task's inputs, `(m,)`, with those of held-out rows, `(n,)`."""
    from sklearn.metrics import roc_auc_score

    labels = np.repeat([0, 1], [len(held_out), len(inputs)])
    auroc = float(roc_auc_score(labels, np.concatenate([held_out, inputs])))
    return OutOfDistribution(domain, len(inputs), auroc, float((inputs > threshold).mean()))


def compare_search(
    teacher: tuple[FloatArray, FloatArray],
    student: tuple[FloatArray, FloatArray],
    predicted: FloatArray,
) -> Search:
    """Return the share of a teacher's nearest neighbours that searches with other embeddings find.

    One search uses predicted embeddings of the queries in the teacher's index; the other uses the student's
    embeddings of both.

    Args:
        teacher: The teacher's embeddings of the index, `(n, teacher_dim)`, and of the queries, `(m, teacher_dim)`.
        student: The student's embeddings of both, `(n, dim)` and `(m, dim)`.
        predicted: The predicted embeddings of the queries, `(m, teacher_dim)`.
    """
    index, queries = teacher
    wanted = nearest(index, queries, NEIGHBOURS)
    return Search(
        predicted=overlap(nearest(index, predicted, NEIGHBOURS), wanted),
        student=overlap(nearest(*student, NEIGHBOURS), wanted),
        chance=NEIGHBOURS / len(index),
    )


def nearest(index: FloatArray, queries: FloatArray, count: int) -> Ints:
    """Return the indices of the `count` rows of `index`, `(n, dim)`, nearest by cosine, `(m, count)`."""
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute").fit(index)
    rows: Ints = found.kneighbors(queries, return_distance=False)
    return rows


def overlap(found: Ints, wanted: Ints) -> float:
    """Return the share of `wanted`, `(m, k)`, that is in the same row of `found`, `(m, k)`."""
    return float((wanted[:, :, None] == found[:, None, :]).any(axis=2).mean())


def _draw(rows: Ints, count: int, seed: int, what: str) -> Ints:
    return np.sort(seeded(seed, what).permutation(rows)[:count])
