"""What teachers of images share: reading them, and rows for those that can be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.errors import ShapeError
from polydistill.images import UnreadableImageError, read_image

BATCH_ROWS = 16


def embed_images(
    name: str, dim: int, examples: Sequence[Example], run: Callable[[list[Any]], FloatArray]
) -> Embeddings:
    """Embed what can be read; a damaged image, or a bomb, is a missing row.

    Args:
        name: The teacher's, for messages.
        dim: Its width.
        examples: Bytes of images.
        run: From RGB Pillow images, `BATCH_ROWS` of them at most, to `(batch, dim)`.

    Raises:
        ShapeError: `run` gave another shape.
    """
    values = np.zeros((len(examples), dim), dtype=np.float32)
    present = np.zeros(len(examples), dtype=np.bool_)
    for start in range(0, len(examples), BATCH_ROWS):
        batch = _readable(examples, range(start, min(start + BATCH_ROWS, len(examples))))
        if not batch:
            continue
        rows, given = list(batch), run(list(batch.values()))
        if given.shape != (len(rows), dim):
            raise ShapeError(
                f"Teacher {name!r} must give shape {(len(rows), dim)}, got {given.shape}."
            )
        values[rows], present[rows] = given, True
    return Embeddings(values, present)


def _readable(examples: Sequence[Example], rows: range) -> dict[int, Any]:
    found = {}
    for row in rows:
        try:
            found[row] = read_image(examples[row])
        except UnreadableImageError:
            continue  # a missing row: `embed_images` says so in `present`
    return found
