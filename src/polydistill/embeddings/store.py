"""The store of embeddings on disk: content-addressed Arrow IPC shards, with checksums that are verified on reading.

A folder holds the embeddings of one teacher: the shards `shard-00000.arrow` … of consecutive rows, and `index.json`.
The key of a shard is the hash of the teacher's identity and of the shard's row ids. Therefore a rerun computes only
missing shards, and an interrupted run that is resumed writes the same bytes as an uninterrupted run.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polydistill.contracts import Embeddings, Example, Progress, Teacher, silent
from polydistill.embeddings import shards
from polydistill.embeddings.fidelity import require_fidelity
from polydistill.errors import DataError, ShapeError, StoreError
from polydistill.project.files import sha256_of

ROW_OVERHEAD_BYTES = 40  # an id of 32 characters, its offset, and the overhead of Arrow
HEADROOM = 1.1
CHECKED_ROWS = 4096
NAMED = 3  # the maximum number of row ids in an error message
ORDER_TOLERANCE = 1e-3  # smaller differences in distance are no evidence of a wrong order
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class WriteReport:
    """Counts of computed and reused shards.

    Attributes:
        computed: The number of shards that this call computed, including those in `rebuilt`.
        reused: The number of intact shards from the folder or from an unfinished run.
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
    ids: Sequence[str],
    examples: Sequence[Example],
    teacher: Teacher,
    *,
    dtype: str = "float16",
    shard_rows: int = 4096,
    batch_size: int = 1024,
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
    identity = {**teacher.identity, "dim": teacher.dim, "dtype": dtype}
    if teacher.by_id and list(examples) != list(ids):  # another id may have another embedding
        identity["examples"] = hashlib.sha256(json.dumps(list(examples)).encode()).hexdigest()
    plan = shards.plan_shards(ids, identity, shard_rows)
    files, damaged = shards.find_shards(plan, [folder, work, shards.next_folder(folder)])
    missing = [shard for shard in plan if shard.file not in files]
    rows_computed = sum(len(shard.ids) for shard in missing)
    shards.require_space(work, needed_bytes(rows_computed, teacher.dim, dtype))
    if missing:
        _require_order(teacher, examples)
        require_fidelity(teacher, examples)
    done = len(ids) - rows_computed
    with shards.full_disk_as_error(work):
        work.mkdir(parents=True, exist_ok=True)
        for shard in missing:
            values = np.zeros((len(shard.ids), teacher.dim), dtype=dtype)
            present = np.zeros(len(shard.ids), dtype=np.bool_)
            inputs = examples[shard.rows]
            first = _first_rows(inputs)
            distinct = np.unique(first)
            for part in _batches([inputs[row] for row in distinct], batch_size):
                rows = distinct[part]
                batch_ids, batch = [shard.ids[i] for i in rows], [inputs[i] for i in rows]
                values[rows], present[rows] = _embed(teacher, batch_ids, batch, dtype)
                done += len(rows)
                progress(teacher.name, done, len(ids))
            done += len(first) - len(distinct)
            values, present = values[first], present[first]
            files[shard.file] = shards.write_shard(work, shard, values, present)
        entries = [
            {
                "file": shard.file,
                "first_id": shard.ids[0],
                "key": shard.key,
                "rows": len(shard.ids),
                "sha256": sha256_of(files[shard.file]),
            }
            for shard in plan
        ]
        index = {
            "dim": teacher.dim,
            "dtype": dtype,
            "identity": dict(teacher.identity),
            "n_rows": len(ids),
            "shards": entries,
            "teacher": teacher.name,
        }
        complete = {shard.file: files[shard.file] for shard in plan}
        shards.swap_in(folder, complete, shards.seal(index))
    for finished in (work, shards.next_folder(folder)):
        shutil.rmtree(finished, ignore_errors=True)
    return WriteReport(len(missing), len(plan) - len(missing), tuple(damaged), rows_computed)


class StoredEmbeddings:
    """The memory-mapped embeddings in a folder, as returned by `open_embeddings`.

    Attributes:
        ids: The examples' ids, `(n_examples,)`, str, in order.
        present: Whether each embedding is present, `(n_examples,)`, bool.
        dim: The width of the embeddings.
        teacher: The name of the teacher.
        identity: The identity of the teacher; see `contracts.Teacher.identity`.
    """

    def __init__(self, index: Mapping[str, Any], tables: Sequence[pa.Table]) -> None:
        self.dim: int = index["dim"]
        self.teacher: str = index["teacher"]
        self.identity: dict[str, object] = index["identity"]
        self._dtype = np.dtype(index["dtype"])
        columns = [table["embedding"].chunk(0) for table in tables]  # combining chunks would copy
        self._matrices: list[NDArray[np.floating]] = [
            column.values.to_numpy(zero_copy_only=True).reshape(-1, self.dim) for column in columns
        ]
        self._ends = np.cumsum([len(matrix) for matrix in self._matrices], dtype=np.int64)
        self.present = np.concatenate(
            [np.empty(0, np.bool_), *(column.is_valid() for column in columns)]
        )
        self.ids = np.array(
            [name for table in tables for name in table["id"].to_pylist()], dtype=np.str_
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def identity_sha256(self) -> str:
        """The sha256 of the teacher's identity."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    @property
    def values(self) -> NDArray[np.floating]:
        """The stored values, `(n_examples, dim)`; a view of the file if there is one shard, otherwise a copy."""
        if len(self._matrices) == 1:
            return self._matrices[0]
        empty = np.empty((0, self.dim), dtype=self._dtype)
        return np.concatenate([empty, *self._matrices])

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
        out = np.zeros((len(indices), self.dim), dtype=np.float32)
        shard_numbers = np.searchsorted(self._ends, indices, side="right")
        for shard in np.unique(shard_numbers):
            where = shard_numbers == shard
            matrix = self._matrices[shard]
            out[where] = matrix[indices[where] - (self._ends[shard] - len(matrix))]
        return Embeddings(out, self.present[indices])


def open_embeddings(folder: Path) -> StoredEmbeddings:
    """Open a folder that `write_embeddings` wrote, and verify every checksum.

    Raises:
        StoreError: The folder is missing or incomplete, or a file's bytes have changed.
    """
    index = shards.read_index(folder)
    paths = [shards.verified(folder / entry["file"], entry["sha256"]) for entry in index["shards"]]
    return StoredEmbeddings(index, [shards.read_shard(path) for path in paths])


def open_corpus_embeddings(
    folders: Mapping[str, Path], ids: Sequence[str]
) -> dict[str, StoredEmbeddings]:
    """Open the folder of each teacher, and check that its rows have the ids `ids`, in order.

    Raises:
        StoreError: A folder is missing, incomplete or damaged, or its rows have different ids.
    """
    stored = {teacher: open_embeddings(folder) for teacher, folder in folders.items()}
    for teacher, embeddings in stored.items():
        if embeddings.ids.tolist() != list(ids):
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
            f"Their ids begin with {', '.join(map(repr, stored.ids[rows][:NAMED]))}; compare them with the teacher's."
        )
    first = stored.take(chosen[:1]).values
    parts = np.array_split(chosen, -(-len(chosen) // CHECKED_ROWS))
    if len(chosen) > 1 and all((stored.take(part).values == first).all() for part in parts):
        raise DataError(
            f"Teacher {stored.teacher!r} has the same embedding for all {len(chosen):,} {which} that it embeds: "
            "check its weights and options."
        )


def _batches(examples: Sequence[Example], batch_size: int) -> Iterator[Ints]:
    """Yield the row indices of each batch. Examples are sorted by length to reduce padding."""
    order = np.argsort([len(example) for example in examples], kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _first_rows(examples: Sequence[Example]) -> Ints:
    """Return the index of the first equal example for each example, `(n_examples,)`."""
    first: dict[Example, int] = {}
    found = [first.setdefault(example, row) for row, example in enumerate(examples)]
    return np.array(found, dtype=np.int64)


def _embed(
    teacher: Teacher, ids: Sequence[str], examples: Sequence[Example], dtype: str
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Embed examples and check the result; return the values as `dtype`, `(n, dim)`, and the presence mask, `(n,)`."""
    result = _checked(teacher, examples)
    with np.errstate(over="ignore"):
        stored: NDArray[np.floating] = result.values.astype(dtype)
    bad = ~np.isfinite(stored).all(axis=1) & result.present
    if bad.any():
        is_finite = np.isfinite(result.values[bad]).all()
        what = f"a number that {dtype} cannot hold" if is_finite else "NaN or infinity"
        remedy = ": set store.dtype to float32" if is_finite else ""
        named = ", ".join(np.asarray(ids)[bad][:NAMED])
        raise StoreError(
            f"Teacher {teacher.name!r} returned {what} for {bad.sum()} rows ({named}){remedy}."
        )
    return stored, result.present


def _checked(teacher: Teacher, examples: Sequence[Example]) -> Embeddings:
    """Embed examples, and check the shapes and types of the result."""
    result, expected = teacher.embed(examples), (len(examples), teacher.dim)
    values, present = result.values, result.present
    if values.shape != expected or present.shape != expected[:1]:
        raise ShapeError(
            f"Teacher {teacher.name!r} must return shape {expected}, got {values.shape}, with one "
            f"`present` per row, got {present.shape}."
        )
    if values.dtype != np.float32 or present.dtype != np.bool_:
        raise StoreError(
            f"Teacher {teacher.name!r} must return float32 values and bool presence, got "
            f"{values.dtype} and {present.dtype}."
        )
    return result


def _require_order(teacher: Teacher, examples: Sequence[Example]) -> None:
    """Raise `StoreError` if the teacher returns rows in another order than its examples, such as sorted by length.

    The longest example is embedded alone, and together with the shortest example in both orders. In each pair, the row
    of the longest example must be closer to its embedding alone than the row of the shortest example.
    """
    pair = [max(examples, key=len), min(examples, key=len)]
    alone = _checked(teacher, pair[:1])
    for own, other, batch in ((0, 1, pair), (1, 0, pair[::-1])):
        together = _checked(teacher, batch)
        with np.errstate(invalid="ignore"):  # infinity is refused when its row is embedded
            distances = np.abs(together.values - alone.values).max(axis=1)  # (2,)
        if alone.present.all() and distances[own] > distances[other] + ORDER_TOLERANCE:
            raise StoreError(
                f"Teacher {teacher.name!r} must return rows in the order of its examples: embedded "
                f"together, {batch[other]!r:.60} and {pair[0]!r:.60} were returned in reverse order."
            )
