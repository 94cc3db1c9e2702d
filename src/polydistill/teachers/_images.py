"""What teachers of images share: reading them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.images import UnreadableImageError, read_image
from polydistill.teachers._rows import embed_readable

BATCH_ROWS = 16


def embed_images(
    name: str, dim: int, examples: Sequence[Example], run: Callable[[list[Any]], FloatArray]
) -> Embeddings:
    """Embed bytes of images, given to `run` as RGB Pillow images; a damaged one, or a bomb, is a missing row.

    See `embed_readable`.
    """
    return embed_readable(name, dim, examples, _image, run, BATCH_ROWS)


def _image(example: Example) -> Any | None:
    try:
        return read_image(example)
    except UnreadableImageError:
        return None
