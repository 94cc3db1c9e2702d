"""A black-box teacher: a table of precomputed embeddings and the ids of the examples."""

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
    """Embeddings that are looked up by id; an example with an unknown id gets a missing row.

    Attributes:
        folder: A folder with Parquet files whose columns are `id` and `embedding` (a list of numbers); or with
            `embeddings.npy`, `(n, dim)`, and `ids.txt`, one id per line. An id is the `id` of a corpus row, or the
            `contracts.Modality.content_id` of a benchmark example.
        dim: Width of the embeddings.
    """

    family = "precomputed"
    by_id = True
    files: ClassVar = {"weights": "folder"}

    folder: str
    dim: int

    @cached_property
    def _table(self) -> tuple[pd.Index, FloatArray]:
        """The ids, `(n,)`, and the embeddings, `(n, dim)`."""
        folder = locate(self.folder)
        if (folder / "embeddings.npy").exists():
            ids = (folder / "ids.txt").read_text(encoding="utf-8").splitlines()
            rows = np.load(folder / "embeddings.npy", mmap_mode="r", allow_pickle=False)
            shapes = {rows.shape}
        else:
            files = sorted(folder.glob("*.parquet"))
            if not files:
                raise MissingDataError(
                    f"Teacher {self.name!r}: {folder} must hold Parquet files or embeddings.npy."
                )
            frame = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
            ids, rows = frame["id"].tolist(), frame["embedding"].tolist()
            shapes = {(len(ids), len(row)) for row in rows}
        if odd := shapes - {(len(ids), self.dim)}:
            raise ShapeError(
                f"Teacher {self.name!r}: embeddings must have shape {(len(ids), self.dim)}, "
                f"got {min(odd)}."
            )
        index = pd.Index(ids)
        if not index.is_unique:
            twice = index[index.duplicated()][0]
            raise DataError(f"Teacher {self.name!r}: id {twice!r} occurs twice in {self.folder}.")
        return index, rows if isinstance(rows, np.ndarray) else np.array(rows, dtype=np.float32)

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`; the examples are ids."""
        index, table = self._table
        rows = index.get_indexer(pd.Index([str(name) for name in examples]))
        present = rows >= 0
        values = np.zeros((len(examples), self.dim), dtype=np.float32)
        values[present] = table[rows[present]]
        return Embeddings(values, present)
