"""An encoder for mteb that looks embeddings up: every model is encoded once, by whoever knows how."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.errors import DataError, ShapeError


class LookupEncoder:
    """See mteb's `EncoderProtocol`. Rows are scaled to unit length, for every model alike.

    A missing embedding is the zero vector: it is near to nothing, and counted in `n_missing`.

    Args:
        name: The model's name.
        revision: What pins it.
        ids: `(n_examples,)`, the content ids of what was embedded.
        embeddings: Of these, in the same order.
        content_id: The modality's, see `contracts.Modality.content_id`.

    Raises:
        ShapeError: There are more ids than embeddings, or fewer.
        DataError: An embedding is not finite.
    """

    def __init__(
        self,
        name: str,
        revision: str,
        ids: Sequence[str],
        embeddings: Embeddings,
        content_id: Callable[[Example], str],
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
        self._content_id = content_id

    @property
    def mteb_model_meta(self) -> Any:
        """Name, revision and width, as mteb keeps them."""
        from mteb.models.model_meta import ModelMeta

        return ModelMeta.create_empty(
            {
                "name": f"polydistill/{self.name}",
                "revision": self.revision,
                "embed_dim": self._values.shape[1],
            }
        )

    def look_up(self, examples: Sequence[Example]) -> FloatArray:
        """Return the embeddings of `examples`, `(n_examples, dim)`.

        Raises:
            DataError: One of them was not embedded.
        """
        rows = []
        for example in examples:
            row = self._rows.get(self._content_id(example))
            if row is None:
                raise DataError(
                    f"{self.name!r} has no embedding of {example[:60]!r}: run the embed stage again."
                )
            rows.append(row)
        return self._values[rows]

    def encode(
        self,
        inputs: Iterable[Mapping[str, Sequence[str]]],
        **_: object,
    ) -> FloatArray:
        """See mteb's `EncoderProtocol.encode`."""
        return self.look_up([text for batch in inputs for text in batch["text"]])

    def similarity(self, embeddings1: FloatArray, embeddings2: FloatArray) -> FloatArray:
        """Return all cosines, `(n1, n2)`."""
        return np.asarray(embeddings1 @ embeddings2.T)

    def similarity_pairwise(self, embeddings1: FloatArray, embeddings2: FloatArray) -> FloatArray:
        """Return the cosines of pairs, `(n,)`."""
        return np.asarray((embeddings1 * embeddings2).sum(axis=1))
