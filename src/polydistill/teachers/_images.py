"""Reading of images, for teachers."""

from __future__ import annotations

from typing import Any, ClassVar

from polydistill.contracts import Example
from polydistill.data.images import UnreadableImageError, read_image
from polydistill.teachers._rows import ReadsExamples


class ReadsImages(ReadsExamples):
    """Gives `_run` RGB Pillow images; a damaged image, or one too large to open, is a missing row."""

    batch_rows: ClassVar[int] = 16

    def _read(self, example: Example) -> Any | None:
        try:
            return read_image(example)
        except UnreadableImageError:
            return None
