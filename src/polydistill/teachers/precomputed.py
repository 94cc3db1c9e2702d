"""A black-box teacher: precomputed embeddings with the ids of their examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.weights import locate
from polydistill.errors import DataError, MissingDataError, ShapeError
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import NamedTeacher


@TEACHERS.register("precomputed")
@dataclass(eq=False, kw_only=True)
class PrecomputedTeacher(NamedTeacher):
    """Embeddings looked up by id; an example with an unknown id gives a missing row.

    Attributes:
        folder: Parquet files with the columns `id` and `embedding` (a list of numbers); or
            `embeddings.npy`, `(n, dim)`, beside `ids.txt`, one id per line. An id is the `id` of a
            corpus row, or the `contracts.Modality.content_id` of a benchmark example.
        dim: Width of the embeddings.
    """

    family = "precomputed"
    by_id = True
    files: ClassVar = {"weights": "folder"}

    folder: str
    dim: int

    @cached_property
    def _rows(self) -> dict[str, int]:
        ids = self._ids_and_table[0]
        rows = {name: row for row, name in enumerate(ids)}
        if len(rows) != len(ids):
            twice = next(name for row, name in enumerate(ids) if rows[name] != row)
            raise DataError(f"Teacher {self.name!r}: id {twice!r} occurs twice in {self.folder}.")
        return rows

    @cached_property
    def _ids_and_table(self) -> tuple[list[str], FloatArray]:
        folder = locate(self.folder)
        if (folder / "embeddings.npy").exists():
            ids = (folder / "ids.txt").read_text(encoding="utf-8").splitlines()
            values = np.load(folder / "embeddings.npy", mmap_mode="r", allow_pickle=False)
        else:
            files = sorted(folder.glob("*.parquet"))
            if not files:
                raise MissingDataError(
                    f"Teacher {self.name!r}: {folder} must hold Parquet files or embeddings.npy."
                )
            frame = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
            ids = frame["id"].tolist()
            widths = sorted({len(row) for row in frame["embedding"]} - {self.dim})
            if widths:
                raise ShapeError(
                    f"Teacher {self.name!r}: embeddings must have width {self.dim}, got {widths[0]}."
                )
            values = np.stack(frame["embedding"].tolist()).astype(np.float32)
        if values.shape != (len(ids), self.dim):
            raise ShapeError(
                f"Teacher {self.name!r}: embeddings must have shape {(len(ids), self.dim)}, "
                f"got {values.shape}."
            )
        return ids, values

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`; the examples are ids."""
        rows = np.array([self._rows.get(str(name), -1) for name in examples], dtype=np.int64)
        present = rows >= 0
        values = np.zeros((len(examples), self.dim), dtype=np.float32)
        values[present] = self._ids_and_table[1][rows[present]]
        return Embeddings(values, present)
