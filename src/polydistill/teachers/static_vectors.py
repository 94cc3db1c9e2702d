"""Averaged word vectors, with weights that decrease with a word's frequency."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from polydistill.config.nodes import Width
from polydistill.contracts import Example, FloatArray
from polydistill.data.texts import canonical_text
from polydistill.data.weights import locate
from polydistill.errors import DataError
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import ReadsExamples, reading
from polydistill.teachers._texts import unit_length

TOKEN = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|[^\sa-z0-9]")
SMOOTHING = 1e-3
"""The parameter `a` of smooth inverse frequency (SIF): more probable words get a lower weight."""


@TEACHERS.register("static-vectors")
@dataclass(eq=False, kw_only=True)
class StaticVectorsTeacher(ReadsExamples):
    """A table of word vectors, sorted by decreasing word frequency; a text without known words gets a missing row.

    Attributes:
        vocabulary: A Parquet file whose column `index` holds the words: a path, or `package:…`.
        vectors: A `.npy` file with one row per word.
        dim: Width of the vectors.

    References:
        Arora, Liang and Ma 2017, "A simple but tough-to-beat baseline for sentence embeddings"; word
        probabilities are estimated by Zipf's law from the order of the vocabulary.
    """

    family, version = "static-vectors", 2
    batch_rows = 256
    files: ClassVar = {"weights": "vectors", "vocabulary": "vocabulary"}

    vocabulary: str
    vectors: str
    dim: Width

    @cached_property
    def _rows(self) -> dict[str, int]:
        import pandas as pd

        path = locate(self.vocabulary)
        with reading(path):
            words = pd.read_parquet(path)["index"]
        return {word: row for row, word in enumerate(words)}

    @cached_property
    def _table(self) -> FloatArray:
        path = locate(self.vectors)
        with reading(path):
            vectors: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        shape = getattr(vectors, "shape", "an archive")
        if shape != (len(self._rows), self.dim):
            raise DataError(
                f"Teacher {self.name!r}: vectors in {path} must have shape {(len(self._rows), self.dim)}, got {shape}."
            )
        rank = np.arange(1, len(vectors) + 1)
        probability = (1 / rank) / np.sum(1 / rank)
        weights = (SMOOTHING / (SMOOTHING + probability)).astype(np.float32)
        return np.asarray(vectors, dtype=np.float32) * weights[:, None]

    def _read(self, example: Example) -> list[int] | None:
        words = TOKEN.findall(canonical_text(example).lower())
        return [self._rows[word] for word in words if word in self._rows] or None

    def _run(self, batch: list[Any]) -> FloatArray:
        return unit_length(np.stack([self._table[known].mean(axis=0) for known in batch]))
