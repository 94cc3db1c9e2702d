"""Columns of Arrow files, memory-mapped; their values become Python objects when they are read."""

import ctypes
import mmap
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, Self, overload
from weakref import WeakSet

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polydistill.data.ids import ID, ID_BYTES, Ids

READ_ROWS = 1_024
FAULT_BYTES = 2**21
"""The maximum number of bytes that Linux maps around a byte that is read: those of a huge page."""
RESIDENT_BYTES = 2**25
"""The estimated number of bytes of all mapped tables in the resident set of the process above which they are dropped."""


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


class MappedTable:
    """The columns of an Arrow file, memory-mapped.

    Args:
        path: The file.

    Attributes:
        schema: The names and types of the columns.
        inode: The number of the file in its file system.

    Raises:
        OSError: The file cannot be read, or is no Arrow file.
        ValueError: The file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.inode = path.stat().st_ino
        with pa.memory_map(str(path)) as source:
            self._file = source.read_buffer()
        self._columns = pa.ipc.open_file(self._file).read_all()
        self._resident = 0
        self.schema: pa.Schema = self._columns.schema
        self.note_read(FAULT_BYTES)

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        return self._columns[name]

    def offset_of(self, values: NDArray[Any]) -> int:
        """Return where the values, a view of the mapped file, begin in the file, in bytes."""
        return int(values.ctypes.data) - int(self._file.address)

    def note_read(self, n_bytes: int) -> None:
        """Note that `n_bytes` are read, which maps at most `FAULT_BYTES` more. Later calls may drop their pages."""
        added = min(n_bytes + FAULT_BYTES, self._file.size - self._resident)
        if added > 0:
            _PAGES.add(self, added)
            self._resident += added

    def drop_pages(self) -> None:
        """Drop the file's pages from the resident set, which is safe while it is read; the next read maps them again."""
        self._resident = 0
        if (advise := _madvise()) is not None:
            advise(self._file.address, self._file.size, mmap.MADV_DONTNEED)


class _ResidentPages:
    """Keeps the pages of mapped tables in the resident set of the process to about `RESIDENT_BYTES`.

    Without it they would stay there while the machine has free memory. Dropped pages remain in the system's file cache.
    """

    def __init__(self) -> None:
        self._tables: WeakSet[MappedTable] = WeakSet()
        self._bytes = 0
        self._lock = Lock()

    def add(self, table: MappedTable, n_bytes: int) -> None:
        """Note pages of a table that will be read; before, drop those that were read, if they are too many."""
        with self._lock:
            if self._bytes + n_bytes > RESIDENT_BYTES:
                for one in self._tables:
                    one.drop_pages()
                self._tables.clear()
                self._bytes = 0
            self._tables.add(table)
            self._bytes += n_bytes


_PAGES = _ResidentPages()


@cache
def _madvise() -> Any:
    """Return the system's function; None on a system without it."""
    # `mmap.madvise` would keep an open file per mapping, of which a process may have 1,024
    if not hasattr(mmap, "MADV_DONTNEED"):
        return None
    function = ctypes.CDLL(None).madvise
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


class Column(Sequence[Any]):
    """The values of a column.

    Args:
        table: The table.
        name: The name of the column.
    """

    def __init__(self, table: MappedTable, name: str) -> None:
        self._table, self._chunks = table, table[name].chunks
        self._ends = list(accumulate(map(len, self._chunks)))
        self._row_bytes = sum(chunk.nbytes for chunk in self._chunks) // max(len(self), 1)

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

    def take(self, rows: Sequence[int]) -> list[Any]:
        """Return the values of some rows, in their order."""
        at = np.asarray(rows, dtype=np.int64)
        chunks = np.searchsorted(self._ends, at, side="right")
        values: list[Any] = [None] * len(at)
        for number in np.unique(chunks).tolist():
            where = np.flatnonzero(chunks == number)
            chunk = self._chunks[number]
            first = self._ends[number] - len(chunk)
            self._table.note_read(len(where) * (self._row_bytes + FAULT_BYTES))
            found = chunk.take(pa.array(at[where] - first)).to_pylist()
            for place, value in zip(where.tolist(), found, strict=True):
                values[place] = value
        return values

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
            self._table.note_read((end - start) * self._row_bytes)
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
