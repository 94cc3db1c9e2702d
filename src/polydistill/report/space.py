"""A sample of the corpus and of the test examples, embedded by the student and its teachers, and its map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
from numpy.typing import NDArray

from polydistill.config.device import device_for
from polydistill.config.environment import use_threads
from polydistill.config.params import Params
from polydistill.contracts import Embeddings, Example, FloatArray, Modality
from polydistill.data.corpora import CARD as CORPUS_CARD
from polydistill.data.corpora import StoredCorpus, open_corpus
from polydistill.data.ids import unpack_ids
from polydistill.data.tables import is_scored, sides
from polydistill.embeddings.store import open_embeddings
from polydistill.project.layout import Layout
from polydistill.students import CARD, encode, load_student, unit_length
from polydistill.training.dataset import group_mask, seeded

CORPUS_ROWS = 10_000
"""Maximum number of rows of the corpus that are embedded for the report."""
TEST_ROWS = 1_000
"""Maximum number of test examples of each task that are embedded for the report."""
SIMILARITY_ROWS = 2_000
"""Number of rows of the similarity matrices, which the undistilled student embeds too."""
MAP_ROWS = 750
"""Maximum number of points of the map from the corpus, and from the test examples."""
FEWEST_MAP_ROWS = 8
NEIGHBOURHOOD = 100
"""Fewer points than this are mapped by PCA: t-SNE needs more."""
CHUNK = 1024


@dataclass(frozen=True, eq=False)
class TestRows:
    """Test examples of one task.

    Attributes:
        frame: Their rows of the task's table.
        columns: The columns that hold the examples: one, or the two of a pair.
        student: The student's embeddings by column, `(n_rows, dim)`.
    """

    frame: pd.DataFrame
    columns: list[str]
    student: list[FloatArray]


@dataclass(frozen=True, eq=False)
class Space:
    """Embeddings of length one of a sample of the corpus, and of test examples. Rows are in a random order.

    Attributes:
        examples: The sampled rows of the corpus.
        sources: The source of each row; `corpus` if the table has no column `source`.
        held_out: Whether each row was held out of training, `(n_rows,)`.
        student: `(n_rows, dim)`.
        undistilled: The first rows, embedded by the undistilled student; None if it is missing.
        teachers: By teacher with stored embeddings of the corpus, those of the rows.
        tests: By task, its embedded test examples.
        n_corpus: Number of rows of the corpus.
    """

    examples: Sequence[Example]
    sources: list[str]
    held_out: NDArray[np.bool_]
    student: FloatArray
    undistilled: FloatArray | None
    teachers: Mapping[str, Embeddings]
    tests: Mapping[str, TestRows]
    n_corpus: int


def missing_for_space(layout: Layout) -> str | None:
    """Return the reason why the space cannot be shown, or None."""
    if not (layout.student / CARD).exists():
        return "There is no student here"
    if not (layout.corpus / CORPUS_CARD).exists():
        return "There is no corpus here"
    return None


def read_space(
    layout: Layout, params: Params, kind: Modality, frames: Mapping[str, pd.DataFrame]
) -> Space:
    """Embed a sample of the corpus and of every task's test examples with the student; read the teachers' embeddings.

    Args:
        layout: The layout of the modality's files.
        params: The parameters of the run.
        kind: The modality.
        frames: The tables of the available tasks.

    Raises:
        StageError: The corpus is damaged.
        StoreError: The embeddings of a teacher are damaged.
    """
    block = params.modality(layout.modality)
    use_threads(params.threads)
    corpus = open_corpus(layout.corpus, block.corpus, kind, layout.checksums("corpus"))
    n_rows = min(len(corpus), CORPUS_ROWS)
    rows = seeded(params.seed, "report").choice(len(corpus), n_rows, replace=False)
    groups = [corpus.groups[row] for row in rows.tolist()]
    examples = [corpus.examples[row] for row in rows.tolist()]
    student = load_student(layout.student, device_for(params.device))
    undistilled = None
    if (layout.undistilled / CARD).exists():
        initial = load_student(layout.undistilled, device_for(params.device))
        undistilled = encode(initial, examples[:SIMILARITY_ROWS])
    tests = {}
    for name, frame in frames.items():
        columns = sides(task := block.tasks[name], kind)
        chosen = frame[is_scored(frame, task)].head(TEST_ROWS)
        parts = [unit_length(encode(student, chosen[column].tolist())) for column in columns]
        tests[name] = TestRows(chosen, columns, parts)
    return Space(
        examples=examples,
        sources=_sources(layout.root / block.corpus.path, corpus, rows),
        held_out=group_mask(groups, block.corpus.held_out, "held-out"),
        student=unit_length(encode(student, examples)),
        undistilled=undistilled,
        teachers=_teachers(layout, list(block.enabled_teachers), len(corpus), rows),
        tests=tests,
        n_corpus=len(corpus),
    )


def nearest_cosine(queries: FloatArray, rows: FloatArray) -> FloatArray:
    """Return the largest cosine of each query with a row, `(n_queries,)`; all embeddings have length one."""
    parts = [
        (queries[start : start + CHUNK] @ rows.T).max(axis=1)
        for start in range(0, len(queries), CHUNK)
    ]
    return np.concatenate([np.empty(0, np.float32), *parts])


def coordinates(embeddings: FloatArray, seed: int) -> tuple[NDArray[np.float64], str]:
    """Return two coordinates of each row, `(n_rows, 2)`, scaled to [0, 1], and the name of the method.

    The rows are reduced to 50 principal components, then mapped by t-SNE; fewer than 100 rows only by PCA.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    width = min(50, *embeddings.shape)
    reduced = PCA(width, svd_solver="full").fit_transform(embeddings)
    method = "PCA"
    points = reduced[:, :2]
    if len(embeddings) >= NEIGHBOURHOOD:
        method = "t-SNE"
        points = TSNE(2, init="pca", perplexity=30, random_state=seed, n_jobs=1).fit_transform(
            reduced
        )
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - low) / np.maximum(high - low, 1e-12), method


def _teachers(
    layout: Layout, teachers: list[str], n_rows: int, rows: NDArray[np.int64]
) -> dict[str, Embeddings]:
    """Return the stored embeddings of the teachers that have embedded the whole corpus."""
    found = {}
    for name in teachers:
        folder = layout.embeddings("corpus", name)
        if not folder.exists():
            continue
        stored = open_embeddings(folder, layout.checksums(f"corpus-{name}"))
        if len(stored) == n_rows:
            found[name] = stored.take(rows)
    return found


def _sources(path: Path, corpus: StoredCorpus, rows: NDArray[np.int64]) -> list[str]:
    """Return the values of the column `source` of a Parquet file with content ids."""
    ids = [unpack_ids(corpus.ids[row : row + 1])[0] for row in rows.tolist()]
    known: dict[Any, Any] = {}
    if path.suffix == ".parquet" and path.is_file():
        table = ds.dataset(path, format="parquet")
        columns = {
            name: str(kind)
            for name, kind in zip(table.schema.names, table.schema.types, strict=True)
        }
        if columns.get("id") in {"string", "large_string"} and "source" in columns:
            found = table.to_table(
                columns=["id", "source"], filter=ds.field("id").isin(ids)
            ).to_pydict()
            known = dict(zip(found["id"], found["source"], strict=True))
    return [str(known.get(one) or "corpus") for one in ids]
