"""Embeddings on disk: Arrow IPC shards, content-addressed, written once, checked when read.

A folder holds one teacher's embeddings of consecutive rows: `shard-00000.arrow` … and `index.json`. A
shard's key is the hash of the teacher's identity and of the shard's row ids, so a rerun computes only what
is missing, and the folder's bytes do not depend on how it came about.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from polydistill.contracts import Embeddings, Example, FloatArray, Teacher
from polydistill.errors import DiskSpaceError, ShapeError, StoreError
from polydistill.progress import Progress, silent

INDEX = "index.json"
BATCH_ROWS = 256
HEADROOM = 1.1  # ids and Arrow's framing, beside the numbers
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class WriteReport:
    """What `write_embeddings` did, in shards.

    Attributes:
        computed: Embedded now.
        reused: Found whole, in the folder or in unfinished work.
        rebuilt: Found damaged, and embedded anew; the files' names.
    """

    computed: int
    reused: int
    rebuilt: tuple[str, ...]


@dataclass(frozen=True)
class _Shard:
    file: str
    key: str
    start: int
    stop: int


def needed_bytes(n_examples: int, dim: int, dtype: str) -> int:
    """Estimate the bytes that embeddings take on disk."""
    return int(n_examples * (dim * np.dtype(dtype).itemsize + 40) * HEADROOM)


def write_embeddings(
    folder: Path,
    work: Path,
    ids: Sequence[str],
    examples: Sequence[Example],
    teacher: Teacher,
    *,
    dtype: str = "float16",
    shard_rows: int = 4096,
    progress: Progress = silent,
) -> WriteReport:
    """Bring `folder` to hold the teacher's embeddings of `examples`, in order.

    Args:
        folder: The result; replaced with one rename when everything is there.
        work: Finished shards of an unfinished run lie here; removed at the end.
        ids: One name an example; with the teacher's identity they make the shards' keys.
        examples: The inputs.
        teacher: Who embeds what is missing.
        dtype: `float16` or `float32`.
        shard_rows: Rows of a shard; batches never cross one.
        progress: Told after each batch.

    Raises:
        ShapeError: The teacher returns another shape than `(n, dim)`.
        StoreError: It returns NaN or infinity, or a number that float16 cannot hold.
        DiskSpaceError: There is not enough room; nothing half-written is left.
    """
    if len(ids) != len(examples):
        raise ShapeError(
            f"`ids` must have {len(examples)} entries, one an example, got {len(ids)}."
        )
    shards = list(_plan(ids, teacher, dtype, shard_rows))
    have, rebuilt = _usable(shards, [folder, work])
    missing_rows = sum(shard.stop - shard.start for shard in shards if shard.file not in have)
    _require_space(folder, needed_bytes(missing_rows, teacher.dim, dtype))
    work.mkdir(parents=True, exist_ok=True)
    done = len(ids) - missing_rows
    with _disk_errors(work):
        for shard in shards:
            if shard.file in have:
                continue
            rows = slice(shard.start, shard.stop)
            batches = []
            for batch in _embed(teacher, ids[rows], examples[rows], dtype):
                batches.append(batch)
                done += len(batch[1])
                progress(teacher.name, done, len(ids))
            _write_shard(work / shard.file, shard.key, ids[rows], batches, teacher.dim, dtype)
            have[shard.file] = work / shard.file
        _assemble(folder, shards, have, teacher, dtype, len(ids))
    shutil.rmtree(work)
    computed = sum(path.parent == work for path in have.values())
    return WriteReport(computed, len(shards) - computed, tuple(rebuilt))


class StoredEmbeddings:
    """A folder of embeddings, memory-mapped. Open one with `open_embeddings`.

    Attributes:
        ids: `(n_examples,)`, str, in order.
        dim: The embeddings' width.
        teacher: The teacher's name.
        identity: What the teacher was: see `contracts.Teacher.identity`.
    """

    def __init__(self, index: dict[str, object], tables: Sequence[pa.Table]) -> None:
        self.dim = int(str(index["dim"]))
        self.teacher = str(index["teacher"])
        identity = index["identity"]
        self.identity: dict[str, object] = dict(identity) if isinstance(identity, dict) else {}
        self._dtype = np.dtype(str(index["dtype"]))
        self._values = [self._matrix(table) for table in tables]
        present = [~np.asarray(table["embedding"].combine_chunks().is_null()) for table in tables]
        ids = [np.asarray(table["id"].to_pylist(), dtype=np.str_) for table in tables]
        self.present = np.concatenate(present) if present else np.empty(0, dtype=np.bool_)
        self.ids = np.concatenate(ids) if ids else np.empty(0, dtype=np.str_)

    def __len__(self) -> int:
        return len(self.ids)

    def _matrix(self, table: pa.Table) -> NDArray[np.floating]:
        column = table["embedding"].combine_chunks()
        flat = np.frombuffer(column.values.buffers()[1], dtype=self._dtype)
        return flat[: len(table) * self.dim].reshape(len(table), self.dim)

    def shard_tensor(self, shard: int) -> torch.Tensor:
        """Return a shard's numbers, `(rows, dim)`, in place: no copy, read-only by convention."""
        return torch.frombuffer(
            memoryview(self._values[shard]).cast("B"),
            dtype=getattr(torch, self._dtype.name),
        ).view(-1, self.dim)

    def take(self, indices: Ints) -> Embeddings:
        """Return the rows at `indices`, `(n,)`, as float32."""
        sizes = np.array([len(values) for values in self._values], dtype=np.int64)
        starts = np.cumsum(sizes) - sizes
        out = np.zeros((len(indices), self.dim), dtype=np.float32)
        shard = np.searchsorted(starts, indices, side="right") - 1
        for number in np.unique(shard):
            where = shard == number
            out[where] = self._values[number][indices[where] - starts[number]]
        present = self.present[indices]
        out[~present] = 0.0
        return Embeddings(out, present)


def open_embeddings(folder: Path) -> StoredEmbeddings:
    """Open a folder that `write_embeddings` made, and verify every checksum.

    Raises:
        StoreError: The folder is missing or incomplete, or a shard's bytes have changed.
    """
    index = _read_index(folder)
    if index is None:
        raise StoreError(f"No embeddings in {folder}: run the embed stage.")
    tables = []
    for entry in index["shards"]:
        path = folder / entry["file"]
        if not path.exists() or _sha256(path) != entry["sha256"]:
            raise StoreError(
                f"{path} is damaged: run the embed stage again, it rebuilds this shard."
            )
        tables.append(_read_shard(path))
    return StoredEmbeddings(index, tables)


def _plan(ids: Sequence[str], teacher: Teacher, dtype: str, shard_rows: int) -> Iterator[_Shard]:
    identity = {**teacher.identity, "dim": teacher.dim, "dtype": dtype}
    base = json.dumps(identity, sort_keys=True)
    for number, start in enumerate(range(0, len(ids), shard_rows)):
        stop = min(start + shard_rows, len(ids))
        content = "\n".join([base, *ids[start:stop]])
        key = hashlib.sha256(content.encode()).hexdigest()
        yield _Shard(f"shard-{number:05d}.arrow", key, start, stop)


def _usable(shards: Sequence[_Shard], folders: Sequence[Path]) -> tuple[dict[str, Path], list[str]]:
    """Return the whole shards that lie somewhere, and the names of the damaged ones."""
    have: dict[str, Path] = {}
    damaged = []
    sums: dict[Path, str] = {}
    for folder in folders:
        for entry in (_read_index(folder) or {"shards": []})["shards"]:
            sums[folder / entry["file"]] = entry["sha256"]
    for shard in shards:
        for folder in folders:
            path = folder / shard.file
            if not path.exists():
                continue
            try:
                whole = path not in sums or sums[path] == _sha256(path)
                matches = (
                    whole and _read_shard(path).schema.metadata.get(b"key") == shard.key.encode()
                )
            except (pa.ArrowInvalid, OSError):
                whole = matches = False
            if matches:
                have[shard.file] = path
                break
            if not whole:
                damaged.append(shard.file)
    return have, damaged


def _embed(
    teacher: Teacher, ids: Sequence[str], examples: Sequence[Example], dtype: str
) -> Iterator[tuple[Ints, NDArray[np.floating], NDArray[np.bool_]]]:
    """Yield positions, values and presence of each batch; like lengths stand together."""
    order = np.array(sorted(range(len(examples)), key=lambda at: len(examples[at])), dtype=np.int64)
    for start in range(0, len(order), BATCH_ROWS):
        at = order[start : start + BATCH_ROWS]
        result = teacher.embed([examples[i] for i in at])
        yield at, _checked(teacher, [ids[i] for i in at], result, dtype), result.present


def _checked(
    teacher: Teacher, ids: Sequence[str], result: Embeddings, dtype: str
) -> NDArray[np.floating]:
    expected = (len(ids), teacher.dim)
    if result.values.shape != expected:
        raise ShapeError(
            f"Teacher {teacher.name!r} must return shape {expected}, got {result.values.shape}."
        )
    if result.present.shape != expected[:1]:
        raise ShapeError(
            f"Teacher {teacher.name!r}: `present` must have shape {expected[:1]}, "
            f"got {result.present.shape}."
        )
    with np.errstate(over="ignore"):
        values: NDArray[np.floating] = result.values.astype(dtype)
    bad = ~np.isfinite(values).all(axis=1) & result.present
    if bad.any():
        finite: FloatArray = result.values[bad]
        what = (
            f"a number that {dtype} cannot hold" if np.isfinite(finite).all() else "NaN or infinity"
        )
        named = ", ".join(np.asarray(ids)[bad][:3])
        raise StoreError(f"Teacher {teacher.name!r} returned {what} for {bad.sum()} rows: {named}.")
    return values


def _write_shard(
    path: Path,
    key: str,
    ids: Sequence[str],
    batches: Sequence[tuple[Ints, NDArray[np.floating], NDArray[np.bool_]]],
    dim: int,
    dtype: str,
) -> None:
    values = np.zeros((len(ids), dim), dtype=dtype)
    present = np.zeros(len(ids), dtype=np.bool_)
    for at, part, there in batches:
        values[at] = part
        present[at] = there
    values[~present] = 0
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(values.reshape(-1)), dim, mask=None if present.all() else pa.array(~present)
    )
    table = pa.table({"id": pa.array(ids, type=pa.string()), "embedding": column})
    table = table.replace_schema_metadata({"key": key})
    partial = path.with_suffix(".partial")
    with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=len(ids))
    os.replace(partial, path)


def _read_shard(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _assemble(
    folder: Path,
    shards: Sequence[_Shard],
    have: dict[str, Path],
    teacher: Teacher,
    dtype: str,
    n_rows: int,
) -> None:
    """Put the shards and their index into a folder beside the final one, and swap the two."""
    index = {
        "dim": teacher.dim,
        "dtype": dtype,
        "identity": dict(teacher.identity),
        "n_rows": n_rows,
        "shards": [
            {
                "file": s.file,
                "key": s.key,
                "rows": s.stop - s.start,
                "sha256": _sha256(have[s.file]),
            }
            for s in shards
        ],
        "teacher": teacher.name,
    }
    text = json.dumps(index, indent=1, sort_keys=True) + "\n"
    files = {path.name for path in folder.iterdir()} if folder.exists() else set()
    unchanged = files == {INDEX, *(s.file for s in shards)}
    if unchanged and all(p.parent == folder for p in have.values()):
        if (folder / INDEX).read_text(encoding="utf-8") == text:
            return
    beside, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    beside.mkdir(parents=True)
    for shard in shards:
        shutil.copyfile(have[shard.file], beside / shard.file)
    (beside / INDEX).write_text(text, encoding="utf-8")
    if folder.exists():
        folder.rename(old)
    beside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _read_index(folder: Path) -> dict[str, list[dict[str, str]]] | None:
    path = folder / INDEX
    if not path.exists():
        return None
    try:
        index: dict[str, list[dict[str, str]]] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(
            f"{path} is damaged ({error}): delete {folder} and run embed again."
        ) from error
    return index


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_space(folder: Path, needed: int) -> None:
    existing = next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())
    free = shutil.disk_usage(existing).free
    if 2 * needed > free:  # the work folder and the final one stand side by side for a moment
        raise DiskSpaceError(
            f"{folder} needs {2 * needed / 2**20:.1f} MiB, {free / 2**20:.1f} MiB are free: make room."
        )


@contextmanager
def _disk_errors(work: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        for partial in work.glob("*.partial"):
            partial.unlink()
        raise DiskSpaceError(f"The disk of {work} is full: make room and run again.") from error
