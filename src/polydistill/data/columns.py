"""Columns of Arrow files, memory-mapped; their values become Python objects when they are read."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
import pyarrow as pa

from polydistill.data.ids import ID, ID_BYTES, Ids

READ_ROWS = 1_024


class TableWriter:
    """Writes an Arrow file part by part; the first part has the columns and types of all.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pa.RecordBatchFileWriter | None = None

    def write(self, columns: Mapping[str, pa.Array]) -> None:
        """Write some rows."""
        batch = pa.record_batch(dict(columns))
        if self._writer is None:
            self._writer = pa.ipc.new_file(str(self._path), batch.schema)
        self._writer.write_batch(batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()


class Column(Sequence[Any]):
    """The values of a column.

    Args:
        column: The column of a memory-mapped file.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._chunks = column.chunks
        self._ends = list(accumulate(map(len, self._chunks)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, rows: int) -> Any: ...
    @overload
    def __getitem__(self, rows: slice) -> list[Any]: ...
    def __getitem__(self, rows: int | slice) -> Any:
        """Return the value of one row, or those of a slice as a list."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step != 1:
                return [self[row] for row in range(start, stop, step)]
            return [one for part in self._parts(start, stop) for one in part.to_pylist()]
        row = rows + len(self) if rows < 0 else rows
        if not 0 <= row < len(self):
            raise IndexError(f"A row must be in 0 … {len(self) - 1}, got {rows}.")
        (part,) = self._parts(row, row + 1)
        return part[0].as_py()

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), READ_ROWS):
            yield from self[start : start + READ_ROWS]

    def _parts(self, start: int, stop: int) -> Iterator[pa.Array]:
        """Yield the parts of a range of rows, one for each chunk."""
        while start < stop:
            number = bisect_right(self._ends, start)
            chunk = self._chunks[number]
            first = self._ends[number] - len(chunk)
            end = min(stop, self._ends[number])
            yield chunk.slice(start - first, end - start)
            start = end


class IdColumn(Column):
    """A column of content ids."""

    def __getitem__(self, rows: slice) -> Ids:  # type: ignore[override]
        """See `ids.IdRows`."""
        start, stop, _ = rows.indices(len(self))
        parts = [np.empty(0, ID)]
        for part in self._parts(start, stop):
            raw = np.frombuffer(part.buffers()[1], dtype=ID)
            parts.append(raw[part.offset : part.offset + len(part)])
        return np.concatenate(parts)


def id_array(ids: Ids) -> pa.Array:
    """Return ids as an Arrow array."""
    buffers = [None, pa.py_buffer(ids.tobytes())]
    return pa.Array.from_buffers(pa.binary(ID_BYTES), len(ids), buffers)


def map_table(path: Path) -> pa.Table:
    """Return the table in an Arrow file, memory-mapped.

    Raises:
        OSError: The file cannot be read, or is no Arrow file.
        ValueError: The file is damaged.
    """
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()
