"""The store of embeddings on disk: content-addressed Arrow IPC shards, with checksums that are verified on reading.

A folder holds the embeddings of one teacher: the shards `0000/shard-00000.arrow` … of consecutive rows, their manifests
and `index.json`. The key of a shard is the hash of the teacher's identity and of the shard's row ids. Therefore a rerun
computes only missing shards, and an interrupted run that is resumed writes the same bytes as an uninterrupted run.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polydistill.contracts import Embeddings, Example, FloatArray, Progress, Teacher, silent
from polydistill.data.columns import map_table
from polydistill.data.ids import ID, IdRows, Ids, unpack_ids
from polydistill.embeddings import shards
from polydistill.embeddings.basis import BASIS, Basis
from polydistill.embeddings.compute import LOCAL, NAMED, Computation, Engine, Job
from polydistill.embeddings.exchange import Exchange
from polydistill.errors import DataError, ShapeError, StoreError
from polydistill.project.checksums import Checksums

ROW_OVERHEAD_BYTES = 17  # an id, and the overhead of Arrow
HEADROOM = 1.1
CHECKED_ROWS = 4096
SHOWN_ROWS = 1_000
"""The number of examples, at regular intervals, from which those are chosen that show the order of a teacher's rows."""
MAPPED = 8_192
"""The number of shards that are mapped into memory at once; Linux allows a process about 65,000 mappings."""
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class WriteReport:
    """Counts of computed and reused shards.

    Attributes:
        computed: The number of shards that this call computed, including those in `rebuilt`.
        reused: The number of intact shards from the folder, from an unfinished run or from an exchange.
        rebuilt: The names of damaged files.
        rows_computed: The number of rows that this call embedded.
    """

    computed: int
    reused: int
    rebuilt: tuple[str, ...]
    rows_computed: int


def needed_bytes(n_examples: int, dim: int, dtype: str) -> int:
    """Estimate the size of embeddings on disk, in bytes."""
    return int(n_examples * (dim * np.dtype(dtype).itemsize + ROW_OVERHEAD_BYTES) * HEADROOM)


def write_embeddings(  # noqa: PLR0913  the only function that fills the store
    folder: Path,
    work: Path,
    ids: IdRows,
    examples: Sequence[Example],
    teacher: Teacher,
    *,
    dtype: str = "float16",
    shard_rows: int = 4096,
    batch_size: int = 1024,
    basis: Basis | None = None,
    checksums: Checksums | None = None,
    engine: Engine = LOCAL,
    progress: Progress = silent,
) -> WriteReport:
    """Write a teacher's embeddings of `examples` to `folder`, in order, and compute only the missing shards.

    Args:
        folder: The folder of the result; it is replaced with one rename after all shards are complete.
        work: The folder that keeps the finished shards while a run is incomplete; it is removed at the end.
        ids: One id per example; the keys of the shards are computed from the ids and the teacher's identity.
        examples: The examples to embed.
        teacher: The teacher that embeds the examples of missing shards.
        dtype: `float16` or `float32`.
        shard_rows: The number of rows per shard; all rows of a batch are in the same shard.
        batch_size: The number of rows per call of the teacher, which divides them further; examples in a call have
            similar lengths. Equal examples in a shard are embedded once.
        basis: The basis in which embeddings are stored, see `pca.corpus_basis`; None: the teacher's own.
        checksums: The checksums that are already known; None: the files of all shards are read.
        engine: Where missing shards are computed.
        progress: A function that is called after each batch.

    Raises:
        ShapeError: `ids` and `examples` have different lengths, or the teacher returns a shape other than `(n, dim)`.
        DataError: A teacher in a lower precision gives other embeddings than in float32; see `require_fidelity`.
        StoreError: The teacher returns NaN, infinity, a number that `dtype` cannot represent, or rows in a
            wrong order.
        DiskSpaceError: There is not enough disk space; partial files are removed.
    """
    if len(ids) != len(examples):
        raise ShapeError(
            f"`ids` must have length {len(examples)}, one per example, got {len(ids)}."
        )
    checksums = checksums or Checksums()
    plan = shards.Plan(ids, _identity(teacher, ids, examples, dtype, basis), shard_rows)
    found = shards.find_shards(plan, [folder, work, shards.next_folder(folder)], checksums)
    absent = [number for number, entry in enumerate(found.entries) if entry is None]
    absent_rows = sum(len(plan[number].ids) for number in absent)
    computation = Computation(teacher, work, dtype, batch_size, basis)
    shards.require_space(work, needed_bytes(absent_rows, computation.dim, dtype))
    done = len(ids) - absent_rows
    with shards.full_disk_as_error(work):
        work.mkdir(parents=True, exist_ok=True)
        for number, copied in _fetched(engine.exchange, plan, absent, work):
            done += copied.rows
            progress(teacher.name, done, len(ids))
            checksums.add(work / copied.file, copied.sha256)
            found.entries[number], found.folders[number] = copied, work
        missing = [number for number in absent if found.entries[number] is None]
        rows_computed = len(ids) - done
        jobs = (Job(plan[number], examples[plan[number].rows]) for number in missing)
        numbers = {shards.shard_file(number): number for number in missing}
        some = [examples[row] for row in spread(len(ids))] if missing else []
        for step in engine.run(computation, some, jobs):
            done += step.rows
            progress(teacher.name, done, len(ids))
            if (entry := step.entry) is not None:
                checksums.add(work / entry.file, entry.sha256)
                found.entries[numbers[entry.file]], found.folders[numbers[entry.file]] = entry, work
        entries = [entry for entry in found.entries if entry is not None]
        index: dict[str, Any] = {
            "dim": computation.dim,
            "dtype": dtype,
            "identity": _reduced_identity(teacher, basis),
            "n_rows": len(ids),
            "teacher": teacher.name,
        }
        others = {}
        if basis is not None:
            others[BASIS] = basis.to_bytes()
            index["basis"] = hashlib.sha256(others[BASIS]).hexdigest()
        shards.swap_in(folder, entries, found.folders, index, others)
        for entry in entries:
            checksums.add(folder / entry.file, entry.sha256)
    for finished in (work, shards.next_folder(folder)):
        shutil.rmtree(finished, ignore_errors=True)
    checksums.save()
    return WriteReport(len(missing), len(plan) - len(missing), tuple(found.damaged), rows_computed)


def spread(n_rows: int) -> range:
    """Return about a thousand of the numbers below `n_rows`, at regular intervals."""
    return range(0, n_rows, max(n_rows // SHOWN_ROWS, 1))[:SHOWN_ROWS]


def _fetched(
    exchange: Exchange | None, plan: shards.Plan, numbers: Sequence[int], work: Path
) -> Iterator[tuple[int, shards.Entry]]:
    """Copy the shards that an exchange has to `work`; yield the number and the entry of each."""
    if exchange is None or not numbers:
        return
    known = exchange.keys()
    for number in numbers:
        shard = plan[number]
        if shard.key in known and (entry := exchange.fetch(shard, work)) is not None:
            yield number, entry


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
        self._table = lru_cache(MAPPED)(self._open_table)
        self._matrix = lru_cache(MAPPED)(self._open_matrix)

    def _open_table(self, shard: int) -> pa.Table:
        return map_table(self._folder / shards.shard_file(shard))

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
        return np.frombuffer(self._table(shard)["id"].chunk(0).buffers()[1], dtype=ID)

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
            out[where] = self._matrix(shard)[indices[where] - self._starts[shard]]
        return Embeddings(out, self.present[indices])


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


def _reduced_identity(teacher: Teacher, basis: Basis | None) -> dict[str, object]:
    """Return the identity of the teacher, and of the basis in which its embeddings are stored."""
    return {**teacher.identity, **({} if basis is None else {"basis": basis.sha256})}


def _identity(
    teacher: Teacher, ids: IdRows, examples: Sequence[Example], dtype: str, basis: Basis | None
) -> dict[str, object]:
    """Return what the keys of the shards depend on, besides the ids."""
    own = _reduced_identity(teacher, basis)
    identity = {**own, "dim": teacher.dim if basis is None else basis.dim, "dtype": dtype}
    if teacher.by_id and (names := _own_names(ids, examples)):
        identity["examples"] = names  # another id may have another embedding
    return identity


def _own_names(ids: IdRows, examples: Sequence[Example]) -> str | None:
    """Return the hash of the examples if they are other names of the rows than their ids, else None."""
    names, same = hashlib.sha256(), True
    for start in range(0, len(ids), CHECKED_ROWS):
        part = list(examples[start : start + CHECKED_ROWS])
        same = same and part == unpack_ids(ids[start : start + CHECKED_ROWS])
        names.update(json.dumps(part).encode())
    return None if same else names.hexdigest()
