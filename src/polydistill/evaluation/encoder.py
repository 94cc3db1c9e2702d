"""Encoders for mteb that look up embeddings, or scores of pairs, computed elsewhere.

In every modality, mteb sees only the content ids of examples; see docs/decisions/0006.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from polydistill.contracts import Embeddings, FloatArray
from polydistill.errors import DataError, ShapeError
from polydistill.evaluation.task import BenchmarkTask


class Model(Protocol):
    """A model that the benchmark scores, with one encoder for all tasks or one for each.

    Attributes:
        name: The model's name.
        revision: The revision that identifies the model's version.
        n_missing: Number of inputs without an embedding, of the encoders that were returned so far.
    """

    name: str
    revision: str
    n_missing: int

    @property
    def mteb_model_meta(self) -> Any:
        """The model as mteb's model metadata."""

    def for_task(self, task: BenchmarkTask) -> Any | None:
        """Return the encoder for a task, an `EncoderProtocol` of mteb; None if the model cannot do such tasks."""


def revision_of(identity: Mapping[str, object]) -> str:
    """Return the sha256 of what identifies a model. The data that it is fitted to has a revision of its own in mteb."""
    text = json.dumps(identity, sort_keys=True, default=dict)
    return hashlib.sha256(text.encode()).hexdigest()


def model_meta(name: str, revision: str, dim: int | None = None) -> Any:
    """Return mteb's model metadata of a model of a run."""
    from mteb.models.model_meta import ModelMeta

    known = {"name": f"polydistill/{name}", "revision": revision, "embed_dim": dim}
    return ModelMeta.create_empty({key: one for key, one in known.items() if one is not None})


QUERIES_AT_A_TIME = 256
"""Number of queries whose cosines with the whole corpus are in memory: 20 MB for a corpus of 20,000."""


class LookupEncoder:
    """Implements mteb's `EncoderProtocol` and `SearchProtocol` with stored embeddings, scaled to unit length.

    A missing embedding is replaced by the zero vector, whose cosine with every vector is zero. `n_missing` counts the
    missing embeddings.

    Args:
        name: The model's name.
        revision: The revision that identifies the model's version.
        ids: The content ids of the embedded examples, `(n_examples,)`.
        embeddings: The embeddings, in the same order.

    Raises:
        ShapeError: The numbers of ids and embeddings differ.
        DataError: An embedding is not finite.
    """

    def __init__(
        self, name: str, revision: str, ids: Sequence[str], embeddings: Embeddings
    ) -> None:
        if len(ids) != len(embeddings.values):
            raise ShapeError(
                f"Embeddings of {name!r} must have {len(ids)} rows, got {len(embeddings.values)}."
            )
        if not np.isfinite(embeddings.values).all():
            raise DataError(f"Embeddings of {name!r} must be finite, got NaN or infinity.")
        self.name, self.revision = name, revision
        self.n_missing = int((~embeddings.present).sum())
        lengths = np.linalg.norm(embeddings.values, axis=1, keepdims=True)
        scaled = embeddings.values / np.where(lengths == 0, 1, lengths)
        self._values: FloatArray = np.asarray(scaled, dtype=np.float32)
        self._values[~embeddings.present] = 0.0
        self._rows = {content: row for row, content in enumerate(ids)}
        self._corpus_ids: list[str] = []
        self._corpus = self._values[:0]

    @property
    def mteb_model_meta(self) -> Any:
        """The name, revision and width as mteb's model metadata."""
        return model_meta(self.name, self.revision, self._values.shape[1])

    def for_task(self, _task: BenchmarkTask) -> "LookupEncoder":
        """Return this encoder: the embeddings are the same for all tasks."""
        return self

    def look_up(self, ids: Iterable[str]) -> FloatArray:
        """Return the embeddings of the examples with these content ids, `(n_examples, dim)`.

        Raises:
            DataError: An example has no embedding.
        """
        try:
            return self._values[[self._rows[content] for content in ids]]
        except KeyError as error:
            raise DataError(
                f"{self.name!r} has no embedding of the example with content id {error}: "
                "run the embed stage again."
            ) from None

    def encode(self, inputs: Iterable[Mapping[str, Sequence[str]]], **_: object) -> FloatArray:
        """Implement mteb's `EncoderProtocol.encode`: the column `text` of a batch holds content ids."""
        return self.look_up(content for batch in inputs for content in batch["text"])

    def similarity(self, embeddings1: FloatArray, embeddings2: FloatArray) -> FloatArray:
        """Return the cosines of all pairs, `(n1, n2)`."""
        return np.asarray(embeddings1 @ embeddings2.T)

    def similarity_pairwise(self, embeddings1: FloatArray, embeddings2: FloatArray) -> FloatArray:
        """Return the cosines of corresponding rows, `(n,)`."""
        return np.asarray((embeddings1 * embeddings2).sum(axis=1))

    def index(self, corpus: Mapping[str, Sequence[str]], **_: object) -> None:
        """Implement mteb's `SearchProtocol.index`: keep the embeddings of the corpus for `search`."""
        # A slice of a column of `datasets` is decoded at once, an iteration row by row.
        self._corpus_ids, self._corpus = [*corpus["id"][:]], self.look_up(corpus["text"][:])

    def search(
        self,
        queries: Mapping[str, Sequence[str]],
        *,
        top_k: int,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        **_: object,
    ) -> dict[str, dict[str, float]]:
        """Implement mteb's `SearchProtocol.search` without mteb's copies of the corpus and its cosines.

        Args:
            queries: The columns `id` and `text`, which holds content ids.
            top_k: The number of nearest corpus rows to return for each query.
            top_ranked: The ids of the corpus rows that each query ranks; None: all of them.

        Returns:
            Cosines by query and by id in the corpus.
        """
        names, vectors = [*queries["id"][:]], self.look_up(queries["text"][:])
        if top_ranked is None:
            return self._search_corpus(names, vectors, top_k)
        places = {one: row for row, one in enumerate(self._corpus_ids)}
        found = {}
        for name, vector in zip(names, vectors, strict=True):
            candidates = self._corpus[[places[one] for one in top_ranked[name]]]
            cosines = (candidates @ vector).tolist()
            found[name] = dict(zip(top_ranked[name], cosines, strict=True))
        return found

    def _search_corpus(
        self, names: Sequence[str], vectors: FloatArray, top_k: int
    ) -> dict[str, dict[str, float]]:
        found, top_k = {}, min(top_k, len(self._corpus_ids))
        for start in range(0, len(names), QUERIES_AT_A_TIME):
            part = slice(start, start + QUERIES_AT_A_TIME)
            cosines = vectors[part] @ self._corpus.T
            nearest = np.argpartition(cosines, -top_k)[:, -top_k:]
            kept = np.take_along_axis(cosines, nearest, axis=1)
            for name, rows, values in zip(names[part], nearest, kept, strict=True):
                ids = (self._corpus_ids[row] for row in rows)
                found[name] = dict(zip(ids, values.tolist(), strict=True))
        return found


class ScoreEncoder:
    """Implements mteb's `EncoderProtocol` for a model that scores pairs of examples instead of embedding them.

    The "embedding" of an example is its row, and `similarity` returns the scores of the pairs of rows.

    Args:
        name: The model's name.
        revision: The revision that identifies the model's version.
        ids: The content ids of the examples, `(n_examples,)`.
        queries: The examples as queries, a sparse matrix `(n_examples, n_terms)`.
        passages: The examples as passages, with the same shape; a score is the product of two rows.
    """

    n_missing = 0

    def __init__(
        self, name: str, revision: str, ids: Sequence[str], queries: Any, passages: Any
    ) -> None:
        self.name, self.revision = name, revision
        self._queries, self._passages = queries, passages
        self._rows = {content: row for row, content in enumerate(ids)}

    @property
    def mteb_model_meta(self) -> Any:
        """The name and revision as mteb's model metadata."""
        return model_meta(self.name, self.revision)

    def encode(self, inputs: Iterable[Mapping[str, Sequence[str]]], **_: object) -> FloatArray:
        """Return the rows of the examples, `(n_examples, 1)`: the column `text` of a batch holds content ids."""
        rows = [self._rows[content] for batch in inputs for content in batch["text"]]
        return np.array(rows, dtype=np.float32)[:, None]  # exact up to 16 million rows

    def similarity(self, embeddings1: FloatArray, embeddings2: FloatArray) -> FloatArray:
        """Return the scores of all pairs, `(n1, n2)`; the first examples are the queries."""
        queries, passages = (
            np.asarray(one).astype(int)[:, 0] for one in (embeddings1, embeddings2)
        )
        scores = self._queries[queries] @ self._passages[passages].T
        return np.asarray(scores.toarray(), dtype=np.float32)

    def similarity_pairwise(self, embeddings1: FloatArray, embeddings2: FloatArray) -> FloatArray:
        """Return the scores of corresponding rows, `(n,)`."""
        queries, passages = (
            np.asarray(one).astype(int)[:, 0] for one in (embeddings1, embeddings2)
        )
        products = self._queries[queries].multiply(self._passages[passages])
        return np.asarray(products.sum(axis=1), dtype=np.float32).ravel()
