"""Image reading, shared by the teachers of images."""

from __future__ import annotations

from typing import Any, ClassVar

from polydistill.contracts import Example
from polydistill.data.images import UnreadableImageError, read_image
from polydistill.teachers._rows import ReadsExamples


class ReadsImages(ReadsExamples):
    """Passes RGB Pillow images to `_run`; a damaged or too large image gives a missing row."""

    batch_rows: ClassVar[int] = 16

    def _read(self, example: Example) -> Any | None:
        try:
            return read_image(example)
        except UnreadableImageError:
            return None
