"""A teacher without weights: hashed character n-grams, for tests and first steps."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polydistill.config.nodes import Depth, Width
from polydistill.contracts import Embeddings, Example
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import NamedTeacher
from polydistill.teachers._texts import unit_length


@TEACHERS.register("hashing")
@dataclass(eq=False, kw_only=True)
class HashingTeacher(NamedTeacher):
    """Signed counts of hashed character n-grams, scaled to length one.

    The teacher's name is part of the hash, so two hashing teachers differ.

    Attributes:
        dim: Number of buckets.
        n: Length of the n-grams.
    """

    family = "hashing"
    identified_by = ("n", "salt")

    dim: Width = 32
    n: Depth = 3

    @property
    def salt(self) -> str:
        """The teacher's name, which the identity contains under the key `salt`."""
        return self.name

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        salt = zlib.crc32(self.name.encode())
        values = np.zeros((len(examples), self.dim), dtype=np.float32)
        for row, example in enumerate(examples):
            content = example if isinstance(example, bytes) else example.lower().encode()
            for start in range(max(len(content) - self.n + 1, 1)):
                code = zlib.crc32(content[start : start + self.n], salt)
                values[row, code % self.dim] += 1.0 if code & 0x8000_0000 else -1.0
        return Embeddings(unit_length(values), np.ones(len(values), dtype=np.bool_))
