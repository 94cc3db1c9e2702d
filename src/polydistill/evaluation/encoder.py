"""An encoder for mteb that looks up embeddings computed elsewhere.

In every modality, mteb sees only the content ids of examples; see docs/decisions/0006.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, FloatArray
from polydistill.errors import DataError, ShapeError

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
        from mteb.models.model_meta import ModelMeta

        name, dim = f"polydistill/{self.name}", self._values.shape[1]
        return ModelMeta.create_empty({"name": name, "revision": self.revision, "embed_dim": dim})

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
