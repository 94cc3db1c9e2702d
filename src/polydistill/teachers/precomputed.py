"""A black-box teacher: embeddings that somebody else computed, with the ids of their examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.errors import DataError, MissingDataError, ShapeError
from polydistill.locate import weights_sha256
from polydistill.teachers import TEACHERS

VERSION = 1


@TEACHERS.register("precomputed")
class PrecomputedTeacher:
    """Rows looked up by example; one that is not there is missing, not an error.

    Args:
        name: What it is called here.
        threads: Unused.
        folder: Parquet files with a column `example` (the text itself) and a list column `embedding`;
            or `examples.parquet` (column `example`) beside `embeddings.npy`.
        dim: Width of the embeddings.
    """

    def __init__(self, name: str, threads: int, *, folder: str, dim: int) -> None:  # noqa: ARG002
        self.name, self.dim = name, dim
        self._folder = Path(folder)

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {
            "family": "precomputed",
            "version": VERSION,
            "weights": weights_sha256(self._folder),
        }

    @cached_property
    def _rows(self) -> dict[Example, FloatArray]:
        if not self._folder.is_dir():
            raise MissingDataError(f"Teacher {self.name!r}: no folder {self._folder}.")
        matrix = self._folder / "embeddings.npy"
        if matrix.exists():
            examples = pd.read_parquet(self._folder / "examples.parquet")["example"].tolist()
            values = np.load(matrix, allow_pickle=False)
        else:
            files = sorted(self._folder.glob("*.parquet"))
            if not files:
                raise MissingDataError(f"Teacher {self.name!r}: no Parquet file in {self._folder}.")
            table = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
            examples = table["example"].tolist()
            lengths = table["embedding"].map(len)
            if not (lengths == self.dim).all():
                raise ShapeError(
                    f"Teacher {self.name!r}: embeddings must have width {self.dim}, "
                    f"got {sorted(lengths.unique())}."
                )
            values = np.stack(table["embedding"].tolist())
        if values.shape != (len(examples), self.dim):
            expected = (len(examples), self.dim)
            raise ShapeError(
                f"Teacher {self.name!r}: embeddings must have shape {expected}, got {values.shape}."
            )
        if len(set(examples)) != len(examples):
            raise DataError(f"Teacher {self.name!r}: an example stands twice in {self._folder}.")
        return dict(zip(examples, values.astype(np.float32), strict=True))

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        present = np.array([example in self._rows for example in examples], dtype=np.bool_)
        values = np.zeros((len(examples), self.dim), dtype=np.float32)
        for row, example in enumerate(examples):
            if present[row]:
                values[row] = self._rows[example]
        return Embeddings(values, present)
