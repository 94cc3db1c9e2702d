"""The store of embeddings on disk: content-addressed Arrow IPC shards, with checksums that are verified on reading.

A folder holds the embeddings of one teacher: the shards `0000/shard-00000.arrow` … of consecutive rows, their manifests
and `index.json`. The key of a shard is the hash of the teacher's identity and of the shard's row ids. Therefore a rerun
computes only missing shards, and an interrupted run that is resumed writes the same bytes as an uninterrupted run.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Embeddings, FloatArray
from polydistill.data.columns import FAULT_BYTES, RESIDENT_BYTES, MappedTable
from polydistill.data.ids import ID, IdRows, Ids, unpack_ids
from polydistill.embeddings import shards
from polydistill.embeddings.basis import BASIS, Basis
from polydistill.embeddings.compute import NAMED
from polydistill.errors import DataError, StoreError
from polydistill.project.checksums import Checksums

CHECKED_ROWS = 4096
MAPPED = 8_192
"""The number of shards that are mapped into memory at once; Linux allows a process about 65,000 mappings."""
OPEN_FILES = 64
"""The number of files of a store that are open at once; systems allow a process 256 or 1,024 by default."""
LARGE = RESIDENT_BYTES // 2
"""The number of bytes of a store above which few rows are read from a file: mapping a page takes longer than reading."""
SCATTERED = 16
"""Rows of a shard are few if they are less than one in this number."""
Ints = NDArray[np.int64]


class _OpenFile:
    """A shard that is open for reading, until nothing refers to it.

    Args:
        path: The file.
        start: Where the embeddings begin in it, in bytes.
    """

    def __init__(self, path: Path, start: int) -> None:
        self.path, self.start = path, start
        self.number = os.open(path, os.O_RDONLY)
        self.inode = os.fstat(self.number).st_ino

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class StoredEmbeddings:
    """The memory-mapped embeddings in a folder, as returned by `open_embeddings`.

    Attributes:
        dim: The width of the embeddings.
        teacher: The name of the teacher.
        identity: The identity of the teacher, see `contracts.Teacher.identity`, and of the basis.
        basis: The basis in which the embeddings are stored; None: the teacher's own.
    """

    def __init__(
        self,
        folder: Path,
        index: Mapping[str, Any],
        entries: Sequence[shards.Entry],
        basis: Basis | None = None,
    ) -> None:
        self.dim: int = index["dim"]
        self.teacher: str = index["teacher"]
        self.identity: dict[str, object] = index["identity"]
        self.basis = basis
        self._folder, self._dtype = folder, np.dtype(index["dtype"])
        rows = np.array([entry.rows for entry in entries], dtype=np.int64)
        self._ends = np.cumsum(rows)
        self._starts = self._ends - rows
        self._missing = np.array([entry.missing for entry in entries], dtype=np.int64)
        self._is_large = len(self) * self.dim * self._dtype.itemsize > LARGE and hasattr(
            os, "preadv"
        )
        self._table = lru_cache(MAPPED)(self._open_table)
        self._matrix = lru_cache(MAPPED)(self._open_matrix)
        self._file = lru_cache(OPEN_FILES)(self._open_file)

    def _open_file(self, shard: int) -> _OpenFile:
        table = self._table(shard)
        file = _OpenFile(
            self._folder / shards.shard_file(shard), table.offset_of(self._matrix(shard))
        )
        if file.inode != table.inode:
            raise StoreError(f"{file.path} was replaced while it was read: run again.")
        return file

    def _open_table(self, shard: int) -> MappedTable:
        return MappedTable(self._folder / shards.shard_file(shard))

    def _open_matrix(self, shard: int) -> NDArray[np.floating]:
        column = self._table(shard)["embedding"].chunk(0)  # combining chunks would copy
        return np.asarray(column.values.to_numpy(zero_copy_only=True).reshape(-1, self.dim))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def shape(self) -> tuple[int, int]:
        """`(n_examples, dim)`."""
        return len(self), self.dim

    @property
    def ids(self) -> Ids:
        """The examples' ids, `(n_examples,)`, in order."""
        return np.concatenate([np.empty(0, ID), *map(self._ids, range(len(self._ends)))])

    def _ids(self, shard: int) -> Ids:
        table = self._table(shard)
        ids = np.frombuffer(table["id"].chunk(0).buffers()[1], dtype=ID)
        table.note_read(ids.nbytes)
        return ids

    def ids_sha256(self) -> str:
        """Return the sha256 of the ids."""
        digest = hashlib.sha256()
        for shard in range(len(self._ends)):
            digest.update(self._ids(shard).tobytes())
        return digest.hexdigest()

    def has_ids(self, ids: IdRows) -> bool:
        """Return whether the rows have these ids, in order."""
        return len(ids) == len(self) and all(
            self._ids(shard).tobytes() == ids[start:end].tobytes()
            for shard, (start, end) in enumerate(zip(self._starts, self._ends, strict=True))
        )

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Whether each embedding is present, `(n_examples,)`, bool."""
        present = np.ones(len(self), dtype=np.bool_)
        for shard in np.flatnonzero(self._missing).tolist():
            column = self._table(shard)["embedding"].chunk(0)
            present[self._starts[shard] : self._ends[shard]] = column.is_valid()
        return present

    @property
    def identity_sha256(self) -> str:
        """The sha256 of the teacher's identity."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    @property
    def values(self) -> NDArray[np.floating]:
        """The stored values, `(n_examples, dim)`; a view of the file if there is one shard, otherwise a copy."""
        if len(self._ends) == 1:
            return self._matrix(0)
        empty = np.empty((0, self.dim), dtype=self._dtype)
        return np.concatenate([empty, *map(self._matrix, range(len(self._ends)))])

    def __getitem__(self, rows: slice) -> FloatArray:
        """Return the values of consecutive rows, as float32; a missing embedding is zero."""
        return self.take(np.arange(*rows.indices(len(self)))).values

    def take(self, indices: Ints) -> Embeddings:
        """Return the rows at `indices`, `(n,)`, as float32.

        Raises:
            IndexError: An index is negative or too large.
        """
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < len(self):
            raise IndexError(
                f"Rows of {self.teacher!r} must be in 0 … {len(self) - 1}, "
                f"got {indices.min()} … {indices.max()}."
            )
        out = np.empty((len(indices), self.dim), dtype=np.float32)
        of_row = np.searchsorted(self._ends, indices, side="right")
        order = np.argsort(of_row, kind="stable")
        hit, starts = np.unique(of_row[order], return_index=True)
        ends = [*starts[1:], len(order)][: len(starts)]
        for shard, start, end in zip(hit.tolist(), starts, ends, strict=True):
            where = order[start:end]
            out[where] = self._rows(shard, indices[where] - self._starts[shard])
        return Embeddings(out, self.present[indices])

    def _rows(self, shard: int, rows: Ints) -> NDArray[np.floating]:
        """Return some rows of a shard; few rows of a large store are read from the file without mapping its pages."""
        if self._is_large and len(rows) * SCATTERED < self._ends[shard] - self._starts[shard]:
            return self._read(shard, rows)
        matrix = self._matrix(shard)
        self._table(shard).note_read(min(len(rows) * FAULT_BYTES, matrix.nbytes))
        return matrix[rows]

    def _read(self, shard: int, rows: Ints) -> NDArray[np.floating]:
        file = self._file(shard)
        found = np.empty((len(rows), self.dim), dtype=self._dtype)
        size = self.dim * self._dtype.itemsize
        n_read = sum(
            os.preadv(file.number, [place], file.start + row * size)
            for place, row in zip(found, rows.tolist(), strict=True)
        )
        if n_read != found.nbytes:
            raise StoreError(f"{file.path} has become shorter: rerun embed to rebuild it.")
        return found


def open_embeddings(folder: Path, checksums: Checksums | None = None) -> StoredEmbeddings:
    """Open a folder that `write_embeddings` wrote, and verify the checksums.

    Args:
        folder: The folder.
        checksums: The checksums that are already known; None: the files of all shards are read.

    Raises:
        StoreError: The folder is missing or incomplete, or a file's bytes have changed.
    """
    checksums = checksums or Checksums()
    index = shards.read_index(folder)
    entries = list(shards.read_entries(folder, index))
    for entry in entries:
        shards.require_intact(folder, entry, checksums)
    checksums.save()
    return StoredEmbeddings(folder, index, entries, _read_basis(folder, index))


def _read_basis(folder: Path, index: Mapping[str, Any]) -> Basis | None:
    """Return the basis of a folder, if its index has one."""
    if (expected := index.get("basis")) is None:
        return None
    path = folder / BASIS
    is_intact = path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == expected
    if not is_intact or (basis := Basis.read(path)) is None:
        state = "damaged" if path.exists() else "missing"
        raise StoreError(f"{path} is {state}: rerun embed to rebuild it.")
    return basis


def open_corpus_embeddings(
    folders: Mapping[str, Path], ids: IdRows, checksums: Mapping[str, Checksums] | None = None
) -> dict[str, StoredEmbeddings]:
    """Open the folder of each teacher, and check that its rows have the ids `ids`, in order.

    Args:
        folders: By teacher.
        ids: The ids of the corpus.
        checksums: By teacher; see `open_embeddings`.

    Raises:
        StoreError: A folder is missing, incomplete or damaged, or its rows have different ids.
    """
    known = checksums or {}
    stored = {name: open_embeddings(folder, known.get(name)) for name, folder in folders.items()}
    for teacher, embeddings in stored.items():
        if not embeddings.has_ids(ids):
            raise StoreError(
                f"{folders[teacher]} does not hold the rows of the corpus: run the embed stage."
            )
    return stored


def require_usable(stored: StoredEmbeddings, rows: NDArray[np.bool_], which: str) -> None:
    """Check that a student can learn from a teacher: it has embeddings of some rows, and they are not all equal.

    Args:
        stored: The teacher's embeddings.
        rows: The rows to check, `(n_examples,)`, bool.
        which: The plural name of the rows in the message, such as `training rows`.

    Raises:
        DataError: No row has an embedding, or all embeddings are equal.
    """
    chosen = np.flatnonzero(rows & stored.present)
    if not len(chosen):
        raise DataError(
            f"Teacher {stored.teacher!r} has an embedding of none of the {rows.sum():,} {which}. "
            f"Their ids begin with {', '.join(map(repr, _first_ids(stored, rows)))}; compare them with the teacher's."
        )
    first = stored.take(chosen[:1]).values
    parts = np.array_split(chosen, -(-len(chosen) // CHECKED_ROWS))
    if len(chosen) > 1 and all((stored.take(part).values == first).all() for part in parts):
        raise DataError(
            f"Teacher {stored.teacher!r} has the same embedding for all {len(chosen):,} {which} that it embeds: "
            "check its weights and options."
        )


def _first_ids(stored: StoredEmbeddings, rows: NDArray[np.bool_]) -> list[str]:
    ids = stored.ids
    return unpack_ids(ids[np.flatnonzero(rows)[:NAMED]])
