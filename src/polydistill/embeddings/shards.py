"""Shards of embeddings as files: their keys, their checksums, and the swap of a whole folder.

A shard is an Arrow IPC file of consecutive rows, uncompressed so that it can be memory-mapped, with the
columns `id` and `embedding` (a null row is a missing embedding) and its key in the schema's metadata.
`store` is what the rest of polydistill uses.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polydistill.errors import DiskSpaceError, StoreError
from polydistill.project.files import write_atomic

INDEX = "index.json"
NO_LINK = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK}
"""What a file system says that cannot link two names to one file."""


@dataclass(frozen=True)
class Shard:
    """A range of rows.

    Attributes:
        file: Its file's name.
        key: Hash of the teacher's identity, the number type and the row ids.
        ids: Its rows' names.
        start: Its first row, among all.
    """

    file: str
    key: str
    ids: Sequence[str]
    start: int

    @property
    def rows(self) -> slice:
        """Its rows, among all."""
        return slice(self.start, self.start + len(self.ids))


def plan_shards(ids: Sequence[str], identity: Mapping[str, object], shard_rows: int) -> list[Shard]:
    """Cut rows into consecutive ranges of `shard_rows`; only the last one may be shorter."""
    base = json.dumps(dict(identity), sort_keys=True)
    shards = []
    for number, start in enumerate(range(0, len(ids), shard_rows)):
        part = ids[start : start + shard_rows]
        key = hashlib.sha256("\n".join([base, *part]).encode()).hexdigest()
        shards.append(Shard(f"shard-{number:05d}.arrow", key, part, start))
    return shards


def write_shard(
    folder: Path, shard: Shard, values: NDArray[np.floating], present: NDArray[np.bool_]
) -> Path:
    """Write one shard and, beside it, its checksum, each by a rename.

    Args:
        folder: Where unfinished work lies.
        shard: What it is.
        values: `(rows, dim)`.
        present: `(rows,)`; the other rows become null.
    """
    numbers = pa.array(np.where(present[:, None], values, 0).astype(values.dtype).reshape(-1))
    mask = None if present.all() else pa.array(~present)
    column = pa.FixedSizeListArray.from_arrays(numbers, values.shape[1], mask=mask)
    table = pa.table({"id": pa.array(shard.ids, type=pa.string()), "embedding": column})
    table = table.replace_schema_metadata({"key": shard.key})
    path = folder / shard.file
    partial = path.with_suffix(".partial")
    with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=len(shard.ids))
    partial.replace(path)
    write_atomic(path.with_suffix(".sha256"), sha256_of(path))
    return path


def read_shard(path: Path) -> pa.Table:
    """Map a shard into memory; its columns have one chunk each."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def find_shards(
    shards: Sequence[Shard], folders: Sequence[Path]
) -> tuple[dict[str, Path], list[str]]:
    """Look for finished shards.

    Returns:
        By file name, the path of each shard that lies whole in one of the folders; and the names of
        the files that were found damaged.
    """
    have: dict[str, Path] = {}
    damaged = []
    for folder in folders:
        sums = _known_sums(folder)
        for shard in shards:
            path = folder / shard.file
            if shard.file in have or shard.file not in sums or not path.exists():
                continue
            if sha256_of(path) != sums[shard.file]:
                damaged.append(shard.file)
            elif _is(shard, path):
                have[shard.file] = path
    return have, damaged


def _known_sums(folder: Path) -> dict[str, str]:
    """Return the checksums written beside a folder's shards, by file name."""
    sums = {
        note.with_suffix(".arrow").name: note.read_text(encoding="utf-8")
        for note in folder.glob("*.sha256")
    }
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return sums | {entry["file"]: entry["sha256"] for entry in index["shards"]}
    except (FileNotFoundError, NotADirectoryError):
        return sums
    except (ValueError, KeyError, TypeError):
        return sums  # a damaged index vouches for nothing: its shards are computed anew


def _is(shard: Shard, path: Path) -> bool:
    table = read_shard(path)
    return (table.schema.metadata or {}).get(b"key") == shard.key.encode() and table[
        "id"
    ].to_pylist() == list(shard.ids)


def seal(index: Mapping[str, Any]) -> str:
    """Return an index as text, with a checksum over itself."""
    body = {key: value for key, value in index.items() if key != "checksum"}
    checksum = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({**body, "checksum": checksum}, indent=1, sort_keys=True) + "\n"


def read_index(folder: Path) -> dict[str, Any]:
    """Read and verify a folder's index.

    Raises:
        StoreError: There is none, or its bytes have changed.
    """
    path = folder / INDEX
    if not path.exists():
        raise StoreError(f"No embeddings in {folder}: run the embed stage.")
    text = path.read_bytes()
    try:
        index: dict[str, Any] = json.loads(text)
        whole = seal(index).encode() == text
    except (ValueError, AttributeError):
        whole = False
    if not whole:
        raise StoreError(f"{path} is damaged: rerun embed to rebuild it.")
    return index


def verified(path: Path, sha256: str) -> Path:
    """Return `path` if the file is there with this checksum.

    Raises:
        StoreError: It is not.
    """
    if not path.exists():
        raise StoreError(f"No file {path}: rerun embed to rebuild it.")
    if sha256_of(path) != sha256:
        raise StoreError(f"{path} is damaged: rerun embed to rebuild it.")
    return path


def swap_in(folder: Path, files: Mapping[str, Path], index: str) -> None:
    """Make `folder` hold exactly `files` and the index, by one rename of a folder beside it."""
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    in_place = names == {INDEX, *files} and all(path.parent == folder for path in files.values())
    if in_place and (folder / INDEX).read_bytes() == index.encode():
        return
    beside, old = beside_of(folder)
    made = folder.with_name(f".{folder.name}.made")
    shutil.rmtree(made, ignore_errors=True)
    try:
        made.mkdir(parents=True)
        for name, path in files.items():
            _link(path, made / name)
        (made / INDEX).write_text(index, encoding="utf-8")
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        raise
    shutil.rmtree(beside, ignore_errors=True)
    made.rename(beside)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    beside.rename(folder)


def beside_of(folder: Path) -> tuple[Path, Path]:
    """Return where the next folder and the last one stand in the moment of a swap."""
    return folder.with_name(f".{folder.name}.next"), folder.with_name(f".{folder.name}.last")


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copyfile(source, target)


def sha256_of(path: Path) -> str:
    """Return a file's sha256, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_space(folder: Path, needed: int) -> None:
    """Refuse to begin what would not fit.

    Raises:
        DiskSpaceError: Fewer than `needed` bytes are free.
    """
    free = free_bytes(folder)
    if needed > free:
        raise DiskSpaceError(
            f"{folder} needs {needed / 2**20:.1f} MiB, {free / 2**20:.1f} MiB are free: make room."
        )


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that `folder` is on, or will be."""
    places = [folder, *folder.absolute().parents]
    return shutil.disk_usage(next(place for place in places if place.exists())).free


@contextmanager
def full_disk_explained(work: Path) -> Iterator[None]:
    """Turn a full disk into our own error, and leave nothing half-written in `work`."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        for partial in work.glob("*.partial"):
            partial.unlink()
        raise DiskSpaceError(
            f"The disk of {error.filename or work} is full: make room and run again; "
            "finished shards are kept."
        ) from error
