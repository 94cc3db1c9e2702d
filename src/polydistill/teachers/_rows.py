"""Base classes of the teachers: options as fields, identity, and missing rows for unreadable examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.errors import ShapeError

Fact = str | int | float | bool | None


@dataclass(eq=False)
class NamedTeacher:
    """A teacher whose options are the keyword-only fields of its class.

    Attributes:
        name: The teacher's name in the settings.
        threads: Number of threads that its library may use.
    """

    family: ClassVar[str]
    version: ClassVar[int] = 1  # increase it when a change of the class changes embeddings
    by_id: ClassVar[bool] = False

    name: str
    threads: int

    def identity_of(self, *options: str, **facts: Fact) -> dict[str, Fact]:
        """Return `contracts.Teacher.identity`: family and version, the named options, and further facts."""
        own = {option: getattr(self, option) for option in options}
        return {"family": self.family, "version": self.version, **own, **facts}


class ReadsExamples:
    """Embeds the examples that can be read; unreadable ones and non-finite results become missing rows."""

    name: str
    dim: int
    batch_rows: ClassVar[int]

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`.

        Raises:
            ShapeError: `_run` returned a wrong shape.
        """
        values = np.zeros((len(examples), self.dim), dtype=np.float32)
        present = np.zeros(len(examples), dtype=np.bool_)
        for start in range(0, len(examples), self.batch_rows):
            found = enumerate(map(self._read, examples[start : start + self.batch_rows]), start)
            batch = {row: one for row, one in found if one is not None}
            if not batch:
                continue
            rows, given = list(batch), self._run(list(batch.values()))
            require_shape(self.name, given, (len(rows), self.dim))
            values[rows], present[rows] = given, np.isfinite(given).all(axis=1)
        values[~present] = 0.0
        return Embeddings(values, present)

    def _read(self, example: Example) -> Any | None:
        """Return one example as `_run` takes it, or None if it cannot be read."""
        raise NotImplementedError

    def _run(self, batch: list[Any]) -> FloatArray:
        """Return the embeddings of a batch, `(batch, dim)`."""
        raise NotImplementedError


def require_shape(name: str, values: FloatArray, expected: tuple[int, int]) -> None:
    """Check the shape of a teacher's embeddings.

    Raises:
        ShapeError: The shape is not `expected`.
    """
    if values.shape != expected:
        raise ShapeError(f"Teacher {name!r} must give shape {expected}, got {values.shape}.")


Identity = Mapping[str, Fact]
