"""Finished shards in an object store, through which machines without a common file system exchange them."""

import hashlib
import json
import uuid
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from polydistill.data.remote import explained
from polydistill.embeddings.shards import Entry, Shard, write_entry
from polydistill.errors import InfrastructureError, ParamsError
from polydistill.project.files import write_atomic

OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss"}
"""Protocols whose files appear complete or not at all. There, `makedirs` would create a bucket of a misspelt name."""


class Exchange:
    """Shards at a URL: `<key>-<sha256>.arrow`, and `<key>.json`, the entry of the shard, when it is complete.

    The key of a shard is a hash of its rows and its teacher, so several projects and runs may use one URL.

    Args:
        url: A folder of an object store, such as `s3://bucket/shards`, or of any file system that fsspec knows.

    Raises:
        ParamsError: The protocol is unknown, or its package is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        with explained(f"embed.exchange: {self.url}", ParamsError, "used"):
            from fsspec.core import url_to_fs

            self._files, self._root = url_to_fs(self.url)
        protocol = self._files.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        self._has_folders = not names & OBJECT_STORES

    def keys(self) -> set[str]:
        """Return the keys of all complete shards, and create the folder if it does not exist.

        Raises:
            InfrastructureError: The store cannot be reached, or refuses the access.
        """
        with self._reached():
            if self._has_folders:
                self._files.makedirs(self._root, exist_ok=True)
            self._files.invalidate_cache()
            try:
                names = self._files.ls(self._root, detail=False)
            except FileNotFoundError:  # in an object store, a folder exists with its first file
                return set()
            return {Path(name).stem for name in names if name.endswith(".json")}

    def put(self, folder: Path, entry: Entry) -> None:
        """Copy a finished shard from `folder` to the store.

        Raises:
            InfrastructureError: The store cannot be reached, or refuses the access.
        """
        note = json.dumps(asdict(entry), sort_keys=True).encode()
        with self._reached():
            self._write(f"{entry.key}-{entry.sha256}.arrow", (folder / entry.file).read_bytes())
            self._write(f"{entry.key}.json", note)  # last: the shard is complete

    def fetch(self, shard: Shard, folder: Path) -> Entry | None:
        """Copy a shard from the store to `folder`, and return its entry; None if the store has no intact shard.

        Raises:
            InfrastructureError: The store cannot be reached, or refuses the access.
        """
        with self._reached():
            try:
                note: dict[str, Any] = json.loads(
                    self._files.cat_file(self._path(f"{shard.key}.json"))
                )
                entry = replace(Entry(**note), file=shard.file)
                name = f"{shard.key}-{entry.sha256}.arrow"
                content = self._files.cat_file(self._path(name))
            except (FileNotFoundError, ValueError, TypeError):
                return None
        is_intact = hashlib.sha256(content).hexdigest() == entry.sha256
        if not is_intact or (entry.key, entry.rows) != (shard.key, len(shard.ids)):
            return None
        write_atomic(folder / entry.file, content)
        write_entry(folder, entry)
        return entry

    def _write(self, name: str, content: bytes) -> None:
        """Write a file that appears complete or not at all."""
        if not self._has_folders:
            self._files.pipe_file(self._path(name), content)
            return
        partial = self._path(f".{name}.{uuid.uuid4().hex}")
        self._files.pipe_file(partial, content)
        self._files.mv(partial, self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _reached(self) -> Any:
        return explained(f"embed.exchange: {self.url}", InfrastructureError, "used")
