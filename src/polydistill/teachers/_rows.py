"""Rows for what a teacher can read, and missing rows for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.errors import ShapeError


def embed_readable(
    name: str,
    dim: int,
    examples: Sequence[Example],
    read: Callable[[Example], Any | None],
    run: Callable[[list[Any]], FloatArray],
    batch_rows: int,
) -> Embeddings:
    """Embed what can be read; what cannot, or gets numbers that are not finite, is a missing row.

    Args:
        name: The teacher's, for messages.
        dim: Its width.
        examples: As the corpus has them.
        read: Returns what `run` takes of one example; None: it cannot be read.
        run: To `(batch, dim)`.
        batch_rows: So many at most are given to `run` at once.

    Raises:
        ShapeError: `run` gave another shape.
    """
    values = np.zeros((len(examples), dim), dtype=np.float32)
    present = np.zeros(len(examples), dtype=np.bool_)
    for start in range(0, len(examples), batch_rows):
        found = enumerate(map(read, examples[start : start + batch_rows]), start)
        batch = {row: one for row, one in found if one is not None}
        if not batch:
            continue
        rows, given = list(batch), run(list(batch.values()))
        if given.shape != (len(rows), dim):
            raise ShapeError(
                f"Teacher {name!r} must give shape {(len(rows), dim)}, got {given.shape}."
            )
        values[rows], present[rows] = given, np.isfinite(given).all(axis=1)
    values[~present] = 0.0
    return Embeddings(values, present)
