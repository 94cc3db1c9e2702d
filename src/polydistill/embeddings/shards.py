"""The files of stored embeddings: shards, manifests, checksums, and the atomic replacement of a folder.

A shard is an Arrow IPC file of consecutive rows. It is not compressed, so that it can be memory-mapped. The columns are
`id` (16 bytes) and `embedding` (null for a missing embedding), and the metadata of the schema holds the key of the
shard. A manifest, `0000/manifest.json`, lists the shards of one subfolder, and `index.json` lists the manifests. Other
packages use the module `store` instead of this one.
"""

import errno
import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polydistill.data.columns import id_array
from polydistill.data.ids import IdRows, Ids
from polydistill.errors import DiskSpaceError, StoreError
from polydistill.project.checksums import Checksums
from polydistill.project.files import is_full_disk, put_in_place, write_atomic

INDEX, MANIFEST = "index.json", "manifest.json"
IN_MANIFEST = 1_000
"""The number of shards in one subfolder, which one manifest lists."""
NO_LINK = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK}
"""Error numbers after which a file is copied, because it cannot be hard-linked."""


@dataclass(frozen=True)
class Shard:
    """A range of consecutive rows that is stored in one file.

    Attributes:
        file: The path of the shard's file in the folder.
        key: The hash of the teacher's identity, the width, the dtype and the row ids.
        ids: The ids of the rows.
        start: The index of the first row among all rows.
    """

    file: str
    key: str
    ids: Ids
    start: int

    @property
    def rows(self) -> slice:
        """The indices of the shard's rows among all rows."""
        return slice(self.start, self.start + len(self.ids))


@dataclass(frozen=True)
class Entry:
    """What a manifest says of a finished shard.

    Attributes:
        file: The path of the shard's file in the folder.
        key: The key of the shard.
        missing: The number of rows without an embedding.
        rows: The number of rows.
        sha256: The checksum of the file.
    """

    file: str
    key: str
    missing: int
    rows: int
    sha256: str


class Plan:
    """The division of rows into consecutive shards of `shard_rows` rows; only the last shard may be shorter.

    Args:
        ids: The ids of all rows.
        identity: The teacher's identity, with the width and the dtype.
        shard_rows: The number of rows of a shard.
    """

    def __init__(self, ids: IdRows, identity: Mapping[str, object], shard_rows: int) -> None:
        self._ids, self._shard_rows = ids, shard_rows
        self._base = hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode())

    def __len__(self) -> int:
        return math.ceil(len(self._ids) / self._shard_rows)

    def __iter__(self) -> Iterator[Shard]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> Shard:
        start = number * self._shard_rows
        ids = self._ids[start : start + self._shard_rows]
        key = self._base.copy()
        key.update(ids.tobytes())
        return Shard(shard_file(number), key.hexdigest(), ids, start)


def shard_file(number: int) -> str:
    """Return the path in the folder of the shard with a number."""
    return f"{number // IN_MANIFEST:04d}/shard-{number:05d}.arrow"


def write_shard(
    folder: Path, shard: Shard, values: NDArray[np.floating], present: NDArray[np.bool_]
) -> Entry:
    """Write a shard and beside it its entry, each atomically.

    Args:
        folder: The folder of the shards of an incomplete run.
        shard: The file name, key and ids of the shard.
        values: The embeddings, `(rows, dim)`.
        present: Whether each embedding is present, `(rows,)`, bool; missing embeddings become null.
    """
    mask = None
    if not present.all():
        mask, values = (
            pa.array(~present),
            np.where(present[:, None], values, 0).astype(values.dtype),
        )
    numbers = pa.array(np.ascontiguousarray(values).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(numbers, values.shape[1], mask=mask)
    table = pa.table({"id": id_array(shard.ids), "embedding": column})
    table = table.replace_schema_metadata({"key": shard.key})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=len(shard.ids))
    content, path = memoryview(sink.getvalue()), folder / shard.file
    write_atomic(path, content)
    sha256 = hashlib.sha256(content).hexdigest()
    entry = Entry(shard.file, shard.key, int((~present).sum()), len(shard.ids), sha256)
    write_entry(folder, entry)
    return entry


def write_entry(folder: Path, entry: Entry) -> None:
    """Write the entry of a finished shard beside it, so that a later run can use the shard."""
    note = (folder / entry.file).with_suffix(".json")
    write_atomic(note, json.dumps(asdict(entry), sort_keys=True) + "\n")


@dataclass(frozen=True)
class Found:
    """The intact shards of a plan.

    Attributes:
        entries: By number; None for a shard that must be computed.
        folders: By number, the folder of the shard's file.
        damaged: The names of damaged files.
    """

    entries: list[Entry | None]
    folders: list[Path]
    damaged: list[str]


def find_shards(plan: Plan, folders: Sequence[Path], checksums: Checksums) -> Found:
    """Search folders for the finished files of shards."""
    known = [_known_entries(folder) for folder in folders]
    found = Found([], [], [])
    for shard in plan:
        have, there = None, folders[0]
        for folder, entries in zip(folders, known, strict=True):
            entry, path = entries.get(shard.file), folder / shard.file
            if have or entry is None or entry.key != shard.key or not path.exists():
                continue
            if checksums.match(path, entry.sha256):
                have, there = entry, folder
            else:
                found.damaged.append(shard.file)
        found.entries.append(have)
        found.folders.append(there)
    return found


def _known_entries(folder: Path) -> dict[str, Entry]:
    """Return the entries of a folder's shards, from its manifests and from the files beside unfinished work."""
    known: dict[str, Entry] = {}
    for note in folder.glob("*/shard-*.json"):
        with suppress(OSError, ValueError, TypeError):
            entry = Entry(**json.loads(note.read_bytes()))
            known[entry.file] = entry
    # A damaged index or manifest is not used; the shards that only it lists are recomputed.
    with suppress(StoreError):
        known |= {one.file: one for one in read_entries(folder, read_index(folder))}
    return known


def seal(index: Mapping[str, Any]) -> str:
    """Return an index as JSON text, with the checksum of its content under the key `checksum`."""
    body = {key: value for key, value in index.items() if key != "checksum"}
    checksum = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({**body, "checksum": checksum}, indent=1, sort_keys=True) + "\n"


def read_index(folder: Path) -> dict[str, Any]:
    """Read and verify a folder's index.

    Raises:
        StoreError: The index is missing, of an earlier release, or its content has changed.
    """
    path = folder / INDEX
    if not path.exists():
        raise StoreError(f"No embeddings in {folder}: run the embed stage.")
    text = path.read_bytes()
    with suppress(ValueError, AttributeError):
        index: dict[str, Any] = json.loads(text)
        if seal(index).encode() == text:
            if "manifests" in index:
                return index
            raise StoreError(f"{path} is of an earlier release: rerun embed to rebuild it.")
    raise StoreError(f"{path} is damaged: rerun embed to rebuild it.")


def read_entries(folder: Path, index: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the entries of the shards that an index lists, in order.

    Raises:
        StoreError: A manifest is missing or damaged.
    """
    for one in index["manifests"]:
        path = folder / one["file"]
        if not path.exists():
            raise StoreError(f"{path} is missing: rerun embed to rebuild it.")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != one["sha256"]:
            raise StoreError(f"{path} is damaged: rerun embed to rebuild it.")
        yield from (Entry(**entry) for entry in json.loads(content))


def require_intact(folder: Path, entry: Entry, checksums: Checksums) -> None:
    """Check a shard's file.

    Raises:
        StoreError: The file is missing, or has another checksum.
    """
    path = folder / entry.file
    if not path.exists() or not checksums.match(path, entry.sha256):
        state = "damaged" if path.exists() else "missing"
        raise StoreError(f"{path} is {state}: rerun embed to rebuild it.")


def swap_in(
    folder: Path,
    entries: Sequence[Entry],
    folders: Sequence[Path],
    index: Mapping[str, Any],
    others: Mapping[str, bytes],
) -> None:
    """Replace `folder` with a new folder that contains only these shards, their manifests, the index and other files.

    `next_folder` is complete before `folder` is replaced. Therefore a run that is killed during the replacement loses
    no shards.

    Args:
        folder: The folder.
        entries: The shards, in order.
        folders: The folder in which each shard is now.
        index: The index without the manifests.
        others: The content of the other files by name; `index` depends on it.
    """
    manifests = {}
    for start in range(0, len(entries), IN_MANIFEST):
        part = [asdict(entry) for entry in entries[start : start + IN_MANIFEST]]
        name = f"{Path(shard_file(start)).parent}/{MANIFEST}"
        manifests[name] = json.dumps(part, indent=1, sort_keys=True) + "\n"
    listed = [
        {"file": name, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        for name, text in manifests.items()
    ]
    sealed = seal({**index, "manifests": listed})
    wanted = {INDEX, *manifests, *others, *(entry.file for entry in entries)}
    in_place = all(one == folder for one in folders) and _files(folder) == wanted
    exact = {INDEX: sealed.encode(), **others}
    if in_place and all((folder / name).read_bytes() == exact[name] for name in exact):
        return
    made = folder.with_name(f".{folder.name}.made")
    shutil.rmtree(made, ignore_errors=True)
    try:
        for name, text in manifests.items():
            (made / name).parent.mkdir(parents=True)
            (made / name).write_text(text, encoding="utf-8")
        made.mkdir(parents=True, exist_ok=True)
        for name, content in others.items():
            (made / name).write_bytes(content)
        for entry, there in zip(entries, folders, strict=True):
            _link(there / entry.file, made / entry.file)
        (made / INDEX).write_text(sealed, encoding="utf-8")
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        raise
    put_in_place(made, next_folder(folder))
    put_in_place(next_folder(folder), folder)


def next_folder(folder: Path) -> Path:
    """Return the temporary path of the complete folder that will replace `folder`."""
    return folder.with_name(f".{folder.name}.next")


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


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
