"""An encoder for mteb that looks up embeddings computed elsewhere.

In every modality, mteb sees only the content ids of examples; see docs/decisions/0006.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, FloatArray
from polydistill.errors import DataError, ShapeError


class LookupEncoder:
    """Implements mteb's `EncoderProtocol` with stored embeddings, which are scaled to unit length.

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
