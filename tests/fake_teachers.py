"""Fake teachers that fail in one way each, or kill the process."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from polydistill.contracts import Embeddings, Example
from polydistill.teachers.hashing import HashingTeacher


@dataclass
class CountingTeacher:
    """A hashing teacher that records its calls and can damage its results.

    Attributes:
        wrong: `nan`, `huge`, `wide`, `reversed`, `sorted` or `float64`; empty for a good teacher.
        kill_after: The process is killed before it embeds this many examples.
        absent: Examples it cannot embed.
    """

    dim: int = 8
    name: str = "fake"
    wrong: str = ""
    kill_after: int | None = None
    absent: frozenset[str] = frozenset()
    by_id: bool = False
    seen: list[Example] = field(default_factory=list)

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        return {"family": "fake", "version": 1}

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        self.seen += examples
        if self.kill_after is not None and len(self.seen) > self.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        inputs = sorted(examples, key=len) if self.wrong == "sorted" else examples
        values = HashingTeacher("hash", 1, dim=self.dim).embed(inputs).values
        if self.wrong == "reversed":
            values = values[::-1].copy()
        if self.wrong == "wide":
            values = np.hstack([values, values])
        if self.wrong == "float64":
            values = values.astype(np.float64)
        for row, example in enumerate(examples):
            if example == "bad":
                values[row, 0] = {"nan": np.nan, "huge": 1e6}.get(self.wrong, values[row, 0])
        present = np.array([example not in self.absent for example in examples], dtype=np.bool_)
        return Embeddings(values, present)
