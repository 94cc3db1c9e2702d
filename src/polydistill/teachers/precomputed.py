"""A black-box teacher: a table of precomputed embeddings and the ids of the examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from polydistill.config.nodes import Width
from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.files import require_column
from polydistill.data.weights import locate
from polydistill.errors import DataError, MissingDataError, ShapeError
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import NamedTeacher, reading

CHECKED_ROWS = 4096
Table = tuple[list[str], FloatArray]


@TEACHERS.register("precomputed")
@dataclass(eq=False, kw_only=True)
class PrecomputedTeacher(NamedTeacher):
    """Embeddings that are looked up by id; an example with an unknown id gets a missing row.

    Attributes:
        folder: A folder with Parquet files whose columns are `id` and `embedding` (a list of numbers); or with
            `embeddings.npy`, `(n, dim)`, and `ids.txt`, one id per line. An id is the `id` of a corpus row, or the
            `contracts.Modality.content_id` of an example. Ids are compared as strings.
        dim: Width of the embeddings.
    """

    family = "precomputed"
    by_id = True
    files: ClassVar = {"weights": "folder"}

    folder: str
    dim: Width

    @cached_property
    def _table(self) -> tuple[pd.Index, FloatArray]:
        """The ids, `(n,)`, and the embeddings, `(n, dim)`.

        Raises:
            DataError: A file is missing or damaged, an id occurs twice, or a value is not a finite number.
            ShapeError: The embeddings do not have shape `(n, dim)`.
        """
        folder = locate(self.folder)
        if (folder / "embeddings.npy").exists():
            parts = [_read_npy(folder / "embeddings.npy", folder / "ids.txt")]
        else:
            parts = [_read_parquet(file) for file in sorted(folder.glob("*.parquet"))]
        parts = [(ids, rows) for ids, rows in parts if len(rows)]
        if not parts:
            raise MissingDataError(
                f"Teacher {self.name!r}: {folder} must hold Parquet files or embeddings.npy with at least one row."
            )
        ids = [name for names, _ in parts for name in names]
        shapes = sorted({rows.shape[1:] for _, rows in parts} - {(self.dim,)})
        if shapes or len(ids) != sum(len(rows) for _, rows in parts):
            got = (len(parts[0][1]), *(shapes or [(self.dim,)])[0])
            raise ShapeError(
                f"Teacher {self.name!r}: embeddings in {self.folder} must have shape {(len(ids), self.dim)}, "
                f"got {got}."
            )
        index = pd.Index(ids, dtype=object)
        if not index.is_unique:
            twice = index[index.duplicated()][0]
            raise DataError(f"Teacher {self.name!r}: id {twice!r} occurs twice in {self.folder}.")
        rows = parts[0][1] if len(parts) == 1 else np.concatenate([rows for _, rows in parts])
        for start in range(0, len(rows), CHECKED_ROWS):
            finite = np.isfinite(rows[start : start + CHECKED_ROWS]).all(axis=1)
            if not finite.all():
                raise DataError(
                    f"Teacher {self.name!r}: the embedding of id {ids[start + int(finite.argmin())]!r} in "
                    f"{self.folder} must be finite. Leave rows without an embedding out of the table."
                )
        return index, rows

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`; the examples are ids."""
        index, table = self._table
        rows = index.get_indexer(pd.Index([str(name) for name in examples], dtype=object))
        present = rows >= 0
        values = np.zeros((len(examples), self.dim), dtype=np.float32)
        values[present] = table[rows[present]]
        return Embeddings(values, present)


def _read_npy(file: Path, names: Path) -> Table:
    with reading(file):
        rows: Any = np.load(file, mmap_mode="r", allow_pickle=False)
        if not isinstance(rows, np.ndarray):
            raise DataError(f"{file} must hold one array, got an archive.")
    if rows.dtype.kind not in "fiu" or rows.ndim != 2:
        raise DataError(
            f"{file} must hold numbers, (n, dim), got {rows.dtype} of shape {rows.shape}."
        )
    if not names.is_file():
        raise MissingDataError(f"No file {names}: it must hold one id per row of {file.name}.")
    with reading(names):
        lines = names.read_text(encoding="utf-8-sig").rstrip().split("\n")
    return [line.strip() for line in lines], rows


def _read_parquet(file: Path) -> Table:
    with reading(file):
        source = pq.ParquetFile(file)
        for column in ("id", "embedding"):
            require_column(source.schema_arrow.names, column, str(file))
        table = source.read(columns=["id", "embedding"])
        names, vectors = (table[name].combine_chunks() for name in ("id", "embedding"))
        for column in (names, vectors):
            if column.null_count:
                row = int(np.argmin(column.is_valid())) + 1
                raise DataError(f"{file}: row {row} lacks its id or its embedding: leave it out.")
        ids = [one.decode() if isinstance(one, bytes) else str(one) for one in names.to_pylist()]
        kind = getattr(vectors.type, "value_type", pa.null())
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise DataError(f"{file}: `embedding` must hold lists of numbers, got {vectors.type}.")
        widths = pc.list_value_length(vectors).unique().to_pylist()
        if len(widths) > 1:
            raise ShapeError(
                f"{file}: all embeddings must have the same length, got {min(widths)} and {max(widths)}."
            )
        values = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        return ids, values.reshape(len(ids), *widths)
