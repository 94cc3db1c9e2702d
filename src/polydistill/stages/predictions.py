"""Predictions: what the heads are good for once training is over, measured on rows that they never saw.

No stage of DVC: it reads the student, the heads, the embeddings and the report that are there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from polydistill.contracts import Example, FloatArray
from polydistill.errors import DataError, MissingDataError
from polydistill.layout import Layout
from polydistill.modalities import MODALITIES
from polydistill.params import Params
from polydistill.prediction import TeacherPredictor, load_predictor
from polydistill.progress import Progress, silent
from polydistill.results import write_results
from polydistill.store import StoredEmbeddings, open_of_corpus
from polydistill.students import encode, load_student
from polydistill.tables import benchmark_inputs, read_corpus, read_tasks
from polydistill.training.dataset import held_out_mask, seeded

NEIGHBOURS = 10
QUERIES = 1_000
INDEXED = 50_000
FLAGGED = 0.05
"""Share of held-out rows that the novelty's threshold calls strange."""
BATCH = 256
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Search:
    """Of the ten neighbours that a teacher finds among its own embeddings, how many are found with cheap queries.

    Attributes:
        predicted: By the teacher's embedding of the query as the heads predict it, in the same index.
        student: By the student, of query and index.
        chance: By drawing ten.
    """

    predicted: float
    student: float
    chance: float


@dataclass(frozen=True)
class Novelty:
    """How well the novelty tells a task's inputs from held-out rows of the corpus.

    Attributes:
        domain: Of the task: `in` the corpus', or `out`.
        n_inputs: Of the task.
        auroc: Of its inputs against the held-out rows; one half: not at all.
        flagged: Share of its inputs above the threshold that `FLAGGED` of the held-out rows are above.
    """

    domain: str
    n_inputs: int
    auroc: float
    flagged: float


@dataclass(frozen=True)
class PredictionsReport:
    """What `docs/results/<modality>/predictions.json` holds.

    Attributes:
        modality: Of the student.
        student_sha256: Of its weights.
        scale: `predicted` or `residual`: see `prediction.PredictionReport`.
        coverage: Teacher: share of held-out values inside the 90 % interval, before and after calibration.
        n_indexed: Rows in each index, at most; all were trained on.
        n_queries: Held-out rows that were looked up, at most.
        search: Teacher: what is found.
        threshold: The novelty above which `FLAGGED` of the held-out rows lie; none where there is no novelty.
        novelty: Task: how strange it is; empty where there is no novelty.
    """

    modality: str
    student_sha256: str
    scale: str
    coverage: dict[str, tuple[float, float]]
    n_indexed: int
    n_queries: int
    search: dict[str, Search]
    threshold: float | None
    novelty: dict[str, Novelty]


def predictions(
    root: Path, params: Params, modality: str, *, progress: Progress = silent
) -> PredictionsReport:
    """Measure intervals, search and novelty; write `docs/results/<modality>/predictions.{json,md}`.

    Raises:
        MissingDataError: The corpus, a task, the student or the report of its distillation is not there.
        StoreError: A teacher's embeddings are not there, or are of other rows.
        DataError: No row is held out, or none was trained on.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    torch.set_num_threads(params.threads)
    if not layout.distillation.exists():
        raise MissingDataError(f"No {layout.distillation}: run the distill stage first.")
    distilled = json.loads(layout.distillation.read_text("utf-8"))
    kind = MODALITIES.get(modality)()
    corpus = read_corpus(root, block.corpus, kind)
    stored = open_of_corpus(
        layout.corpus_embeddings(params.active_teachers(modality)), corpus["id"].tolist()
    )
    unseen = held_out_mask(corpus["group"].tolist(), block.corpus.held_out)
    if unseen.all() or not unseen.any():
        raise DataError(
            "Some rows must be held out and some not: set corpus.held_out between 0 and 1."
        )
    index = _draw(np.flatnonzero(~unseen), INDEXED, params.seed, "indexed rows")
    queries = _draw(np.flatnonzero(unseen), QUERIES, params.seed, "queries")
    predictor, student = load_predictor(layout.heads, layout.student), load_student(layout.student)

    def embed(examples: Sequence[Example]) -> FloatArray:
        return encode(student, examples)

    examples = corpus[kind.column]
    own_index, own_queries = (embed(examples.iloc[rows].tolist()) for rows in (index, queries))
    search = {}
    for done, (teacher, embeddings) in enumerate(stored.items(), 1):
        search[teacher] = _search(
            predictor, teacher, embeddings, (index, queries), (own_index, own_queries)
        )
        progress("search", done, len(stored), predicted=search[teacher].predicted)
    novelty, threshold = dict[str, Novelty](), None
    if predictor.scores_novelty:
        usual = predictor.novelty(embed(examples.iloc[np.flatnonzero(unseen)].tolist()))
        threshold = float(np.quantile(usual, 1 - FLAGGED))
        for done, (name, task) in enumerate(block.tasks.items(), 1):
            frames = read_tasks(root, {name: task}, kind)
            if name not in frames:  # a third party's that this machine has not got
                continue
            inputs = benchmark_inputs(frames, {name: task}, kind)[kind.column].tolist()
            strange = predictor.novelty(embed(inputs))
            novelty[name] = compare_novelty(usual, strange, threshold, task.domain)
            progress("novelty", done, len(block.tasks), auroc=novelty[name].auroc)
    report = PredictionsReport(
        modality=modality,
        student_sha256=distilled["student_sha256"],
        scale=predictor.scale,
        coverage={
            teacher: (distilled["coverage_90_before"][teacher], after)
            for teacher, after in distilled["coverage_90"].items()
        },
        n_indexed=len(index),
        n_queries=len(queries),
        search=search,
        threshold=threshold,
        novelty=novelty,
    )
    write_results(layout.results, "predictions", asdict(report), markdown(report))
    return report


def compare_novelty(usual: Floats, strange: Floats, threshold: float, domain: str) -> Novelty:
    """Hold the novelty of a task's inputs, `(m,)`, against that of held-out rows, `(n,)`."""
    from sklearn.metrics import roc_auc_score

    labels = np.repeat([0, 1], [len(usual), len(strange)])
    auroc = float(roc_auc_score(labels, np.concatenate([usual, strange])))
    return Novelty(domain, len(strange), auroc, float((strange > threshold).mean()))


def compare_search(
    teacher: tuple[FloatArray, FloatArray],
    student: tuple[FloatArray, FloatArray],
    predicted: FloatArray,
) -> Search:
    """Look for the neighbours that a teacher finds.

    Args:
        teacher: Its embeddings of the index, `(n, teacher_dim)`, and of the queries, `(m, teacher_dim)`.
        student: The student's, `(n, dim)` and `(m, dim)`.
        predicted: The teacher's of the queries, as the heads predict them, `(m, teacher_dim)`.
    """
    index, queries = teacher
    count = min(NEIGHBOURS, len(index))
    wanted = nearest(index, queries, count)
    return Search(
        predicted=overlap(nearest(index, predicted, count), wanted),
        student=overlap(nearest(*student, count), wanted),
        chance=count / len(index),
    )


def nearest(index: FloatArray, queries: FloatArray, count: int) -> Ints:
    """Return the places of the `count` rows of `index`, `(n, dim)`, with the highest cosines, `(m, count)`, in no order."""
    unit, asked = _unit(index), _unit(queries)
    found = [
        np.argpartition(-(asked[start : start + BATCH] @ unit.T), count - 1, axis=1)[:, :count]
        for start in range(0, len(asked), BATCH)
    ]
    return np.concatenate(found)


def overlap(found: Ints, wanted: Ints) -> float:
    """Return the share of `wanted`, `(m, k)`, that is in the same row of `found`, `(m, k)`."""
    return float((wanted[:, :, None] == found[:, None, :]).any(axis=2).mean())


def markdown(report: PredictionsReport) -> str:
    """Return the whole page."""
    chance = max(one.chance for one in report.search.values())
    lines = [
        f"# What the heads of the {report.modality} student predict",
        "",
        (
            f"Of the student {report.student_sha256[:12]}, on rows that it was not trained on, without a label. "
            f"`polydistill predictions {report.modality}` writes this page; "
            "[the guide](../../guides/predicting-teachers.md) says how to use them."
        ),
        "",
        "## Search",
        "",
        (
            f"An index of {report.n_indexed:,} rows that were trained on, {report.n_queries:,} queries that were not. "
            f"Of the {NEIGHBOURS} neighbours that a teacher finds for its own embedding of the query, so many are found in "
            "the teacher's index with the embedding that the heads predict, and by the student on both sides. Drawing "
            f"finds {chance:.2g}."
        ),
        "",
        "| teacher | predicted query | student on both sides |",
        "|---|---:|---:|",
        *(
            f"| {teacher} | {one.predicted:.2f} | {one.student:.2f} |"
            for teacher, one in report.search.items()
        ),
        "",
        "## How sure",
        "",
        (
            "Share of a teacher's held-out values inside the 90 % interval, calibrated on one half of the groups, "
            "measured on the other."
        ),
        "",
        "| teacher | before | after |",
        "|---|---:|---:|",
        *(
            f"| {teacher} | {before:.3f} | {after:.3f} |"
            for teacher, (before, after) in report.coverage.items()
        ),
        "",
        "## How strange",
        "",
        *_of_novelty(report),
    ]
    return "\n".join(lines) + "\n"


def _of_novelty(report: PredictionsReport) -> list[str]:
    if report.threshold is None:
        return ["The student was distilled with a loss that trains no scale: there is no novelty."]
    strangest_first = sorted(report.novelty.items(), key=lambda item: -item[1].auroc)
    return [
        (
            "AUROC of the novelty of a task's inputs against the held-out rows, and the share of them above "
            f"{report.threshold:.2f}, which {FLAGGED:.0%} of the held-out rows are above. In-domain tasks share the corpus' "
            "sources."
        ),
        "",
        "| task | domain | inputs | AUROC | flagged |",
        "|---|---|---:|---:|---:|",
        *(
            f"| {name} | {one.domain} | {one.n_inputs:,} | {one.auroc:.3f} | {one.flagged:.0%} |"
            for name, one in strangest_first
        ),
    ]


def _search(
    predictor: TeacherPredictor,
    teacher: str,
    embeddings: StoredEmbeddings,
    rows: tuple[Ints, Ints],
    own: tuple[FloatArray, FloatArray],
) -> Search:
    """Look the queries up among the rows of index and queries that the teacher has."""
    there = [embeddings.present[some] for some in rows]
    index, queries = (
        embeddings.take(some[has]).values for some, has in zip(rows, there, strict=True)
    )
    own_index, own_queries = (one[has] for one, has in zip(own, there, strict=True))
    predicted, _ = predictor.predict(own_queries, teacher)
    return compare_search((index, queries), (own_index, own_queries), predicted)


def _draw(rows: Ints, count: int, seed: int, what: str) -> Ints:
    return np.sort(seeded(seed, what).permutation(rows)[:count])


def _unit(values: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    unit: FloatArray = values / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
