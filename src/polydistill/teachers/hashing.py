"""A teacher without weights: hashed character n-grams, for tests and first steps."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from polydistill.contracts import Embeddings, Example
from polydistill.teachers import TEACHERS
from polydistill.teachers._batches import all_present, unit_length

VERSION = 1


@TEACHERS.register("hashing")
class HashingTeacher:
    """Signed counts of hashed character n-grams, at length one.

    Args:
        name: What it is called here; part of the hash, so that two of them differ.
        threads: Unused.
        dim: Number of buckets.
        n: Length of the n-grams.
    """

    by_id = False

    def __init__(self, name: str, threads: int, *, dim: int = 32, n: int = 3) -> None:  # noqa: ARG002
        self.name, self.dim, self._n = name, dim, n

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {"family": "hashing", "version": VERSION, "salt": self.name, "n": self._n}

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        salt = zlib.crc32(self.name.encode())
        values = np.zeros((len(examples), self.dim), dtype=np.float32)
        for row, example in enumerate(examples):
            content = example if isinstance(example, bytes) else example.lower().encode()
            for start in range(max(len(content) - self._n + 1, 1)):
                code = zlib.crc32(content[start : start + self._n], salt)
                values[row, code % self.dim] += 1.0 if code & 0x8000_0000 else -1.0
        return all_present(unit_length(values))
