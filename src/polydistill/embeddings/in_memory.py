"""Teachers that a Python caller passes as objects: a precomputed table, or any object with `encode`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.errors import DataError, ShapeError

PROBES = 8
"""The number of inputs whose embeddings identify an encoder without an `identity`."""


@runtime_checkable
class Encoder(Protocol):
    """Anything that embeds a list of examples: a `SentenceTransformer`, a client of a service, a student."""

    def encode(self, examples: list[Any], /) -> ArrayLike:
        """Return `(n_examples, dim)`, one row per example, in order."""


class Precomputed:
    """A teacher whose embeddings are already computed: one row per example, in the order of the examples.

    Args:
        embeddings: `(n_examples, dim)`. A row with NaN means that the teacher has no embedding of this example.
        name: The teacher's name in reports.
        ids: The content id of each row, `(n_examples,)`; `polydistill.distill` computes them. If two rows have equal
            ids, the first row is used.

    Raises:
        ShapeError: The array is not two-dimensional, or is empty.
        DataError: Every row contains NaN, or a value is infinite.

    Examples:
        >>> Precomputed(np.eye(3), name="one-hot").dim
        3
    """

    by_id = True

    def __init__(
        self, embeddings: ArrayLike, name: str = "precomputed", ids: Sequence[str] = ()
    ) -> None:
        values = np.asarray(embeddings, dtype=np.float32)
        if values.ndim != 2 or 0 in values.shape:
            raise ShapeError(
                f"Precomputed {name!r}: embeddings must have shape (n_examples, dim), got {values.shape}."
            )
        if np.isinf(values).any():
            raise DataError(f"Precomputed {name!r}: embeddings must be finite, got infinity.")
        self._present = np.asarray(~np.isnan(values).any(axis=1), dtype=np.bool_)
        if not self._present.any():
            raise DataError(
                f"Precomputed {name!r}: every row holds NaN; at least one must be complete."
            )
        self._values: FloatArray = np.where(self._present[:, None], values, np.float32(0))
        self._rows: dict[str, int] = {}
        for row, content_id in enumerate(ids):
            self._rows.setdefault(content_id, row)
        self.name, self.dim = name, int(values.shape[1])

    def aligned(self, ids: Sequence[str]) -> Precomputed:
        """Return this table with these content ids of its rows, `(n_examples,)`.

        Raises:
            ShapeError: The numbers of ids and of rows differ.
        """
        if len(ids) != len(self._values):
            raise ShapeError(
                f"Precomputed {self.name!r} must have one row per example, {len(ids)}, got {len(self._values)}."
            )
        complete = np.where(self._present[:, None], self._values, np.float32(np.nan))
        return Precomputed(complete, self.name, ids)

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`: the sha256 of the table."""
        digest = hashlib.sha256(self._values.tobytes() + self._present.tobytes()).hexdigest()
        return {"family": "precomputed", "version": 1, "weights": digest}

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`; the examples are content ids, and an unknown id has no embedding."""
        rows = np.array([self._rows.get(str(name), -1) for name in examples], dtype=np.int64)
        present = (rows >= 0) & self._present[rows]
        return Embeddings(np.where(present[:, None], self._values[rows], np.float32(0)), present)


class EncoderTeacher:
    """A teacher that calls an object's `encode`.

    Its identity is the hash of its embeddings of a few inputs. Therefore stored embeddings are reused only as long
    as the object returns the same embeddings.

    Args:
        encoder: The object: see `Encoder`.
        name: The teacher's name in reports.
        probes: Examples whose embeddings identify the object; at least one.
    """

    by_id = False

    def __init__(self, encoder: Encoder, name: str, probes: Sequence[Example]) -> None:
        self._encoder, self.name = encoder, name
        embeddings = self._encode(list(probes[:PROBES]))
        self.dim = embeddings.shape[1]
        self._digest = hashlib.sha256(embeddings.tobytes()).hexdigest()

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {"family": "encoder", "version": 1, "weights": self._digest}

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        if not examples:
            return Embeddings(np.zeros((0, self.dim), np.float32), np.zeros(0, np.bool_))
        return Embeddings(self._encode(list(examples)), np.ones(len(examples), dtype=np.bool_))

    def _encode(self, examples: list[Example]) -> FloatArray:
        values = np.asarray(self._encoder.encode(examples), dtype=np.float32)
        if values.ndim != 2 or len(values) != len(examples):
            raise ShapeError(
                f"Teacher {self.name!r}: encode() of {len(examples)} examples must return shape "
                f"({len(examples)}, dim), got {values.shape}."
            )
        return values
