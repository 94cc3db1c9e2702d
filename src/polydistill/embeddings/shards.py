"""Reads and writes embedding shards: keys, checksums, and the atomic replacement of a folder.

A shard is an Arrow IPC file of consecutive rows. It is not compressed, so that it can be memory-mapped. The columns are
`id` and `embedding` (null for a missing embedding), and the metadata of the schema holds the key of the shard. Other
packages use the module `store` instead of this one.
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polydistill.errors import DiskSpaceError, StoreError
from polydistill.project.files import is_full_disk, put_in_place, sha256_of, write_atomic

INDEX = "index.json"
NO_LINK = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK}
"""Error numbers after which a file is copied, because it cannot be hard-linked."""


@dataclass(frozen=True)
class Shard:
    """A range of consecutive rows that is stored in one file.

    Attributes:
        file: The name of the shard's file.
        key: The hash of the teacher's identity, the width, the dtype and the row ids.
        ids: The ids of the rows.
        start: The index of the first row among all rows.
    """

    file: str
    key: str
    ids: Sequence[str]
    start: int

    @property
    def rows(self) -> slice:
        """The indices of the shard's rows among all rows."""
        return slice(self.start, self.start + len(self.ids))


def plan_shards(ids: Sequence[str], identity: Mapping[str, object], shard_rows: int) -> list[Shard]:
    """Divide rows into consecutive shards of `shard_rows` rows; only the last shard may be shorter."""
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
    """Write a shard and a file with its checksum, each atomically, and return the path of the shard.

    Args:
        folder: The folder of the shards of an incomplete run.
        shard: The file name, key and ids of the shard.
        values: The embeddings, `(rows, dim)`.
        present: Whether each embedding is present, `(rows,)`, bool; missing embeddings become null.
    """
    numbers = pa.array(np.where(present[:, None], values, 0).astype(values.dtype).reshape(-1))
    mask = None if present.all() else pa.array(~present)
    column = pa.FixedSizeListArray.from_arrays(numbers, values.shape[1], mask=mask)
    table = pa.table({"id": pa.array(shard.ids, type=pa.string()), "embedding": column})
    table = table.replace_schema_metadata({"key": shard.key})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=len(shard.ids))
    path = folder / shard.file
    write_atomic(path, sink.getvalue().to_pybytes())
    write_atomic(path.with_suffix(".sha256"), sha256_of(path))
    return path


def read_shard(path: Path) -> pa.Table:
    """Return a memory-mapped shard, whose columns have one chunk each."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def find_shards(
    shards: Sequence[Shard], folders: Sequence[Path]
) -> tuple[dict[str, Path], list[str]]:
    """Search folders for the finished files of shards.

    Returns:
        The path of each intact shard, by file name, and the names of damaged files.
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
            elif read_shard(path).schema.metadata.get(b"key") == shard.key.encode():
                have[shard.file] = path
    return have, damaged


def _known_sums(folder: Path) -> dict[str, str]:
    """Return the checksums of a folder's shards, by file name, from its index and its `.sha256` files."""
    sums = {
        note.with_suffix(".arrow").name: note.read_text(encoding="utf-8", errors="replace")
        for note in folder.glob("*.sha256")
    }
    # Checksums of a damaged index are not used; the shards that only this index lists are recomputed.
    with suppress(StoreError):
        sums |= {entry["file"]: entry["sha256"] for entry in read_index(folder)["shards"]}
    return sums


def seal(index: Mapping[str, Any]) -> str:
    """Return an index as JSON text, with the checksum of its content under the key `checksum`."""
    body = {key: value for key, value in index.items() if key != "checksum"}
    checksum = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({**body, "checksum": checksum}, indent=1, sort_keys=True) + "\n"


def read_index(folder: Path) -> dict[str, Any]:
    """Read and verify a folder's index.

    Raises:
        StoreError: The index is missing, or its content has changed.
    """
    path = folder / INDEX
    if not path.exists():
        raise StoreError(f"No embeddings in {folder}: run the embed stage.")
    text = path.read_bytes()
    with suppress(ValueError, AttributeError):
        index: dict[str, Any] = json.loads(text)
        if seal(index).encode() == text:
            return index
    raise StoreError(f"{path} is damaged: rerun embed to rebuild it.")


def verified(path: Path, sha256: str) -> Path:
    """Return `path` if the file exists and has this checksum.

    Raises:
        StoreError: The file is missing, or has another checksum.
    """
    if not path.exists() or sha256_of(path) != sha256:
        state = "damaged" if path.exists() else "missing"
        raise StoreError(f"{path} is {state}: rerun embed to rebuild it.")
    return path


def swap_in(folder: Path, files: Mapping[str, Path], index: str) -> None:
    """Replace `folder` with a new folder that contains only `files` and the index.

    `next_folder` is complete before `folder` is replaced. Therefore a run that is killed during the replacement loses
    no shards.
    """
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    in_place = names == {INDEX, *files} and all(path.parent == folder for path in files.values())
    if in_place and (folder / INDEX).read_bytes() == index.encode():
        return
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
    put_in_place(made, next_folder(folder))
    put_in_place(next_folder(folder), folder)


def next_folder(folder: Path) -> Path:
    """Return the temporary path of the complete folder that will replace `folder`."""
    return folder.with_name(f".{folder.name}.next")


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copyfile(source, target)


def require_space(folder: Path, needed: int) -> None:
    """Check that `needed` bytes are free on the disk of `folder`.

    Raises:
        DiskSpaceError: Fewer bytes are free.
    """
    free = free_bytes(folder)
    if needed > free:
        raise DiskSpaceError(
            f"{folder} needs {needed / 2**20:.1f} MiB, {free / 2**20:.1f} MiB are free: "
            "free disk space."
        )


def free_bytes(folder: Path) -> int:
    """Return the number of free bytes on the disk of `folder`; the folder need not exist."""
    folders = [folder, *folder.absolute().parents]
    return shutil.disk_usage(next(one for one in folders if one.exists())).free


@contextmanager
def full_disk_as_error(work: Path) -> Iterator[None]:
    """Raise `DiskSpaceError` instead of the `OSError` of a full disk."""
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise DiskSpaceError(
            f"The disk of {error.filename or work} is full: free disk space and run again; "
            "finished shards are kept."
        ) from error
