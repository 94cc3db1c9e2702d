"""Finished shards in an object store, through which machines without a common file system exchange them."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from polydistill.embeddings.shards import Entry, Shard, write_entry
from polydistill.errors import PolydistillError, StoreError
from polydistill.project.files import write_atomic

BUCKETS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "memory"}
"""Protocols without folders. There, `makedirs` would create the bucket, whose name may be misspelt."""


class Exchange:
    """Shards at a URL, each named by its key: `<url>/<key>.arrow`, and `<key>.json` when the shard is complete.

    The key of a shard is a hash of its rows and its teacher, so several projects and runs may use one URL.

    Args:
        url: A folder of an object store, such as `s3://bucket/shards`, or of any file system that fsspec knows.

    Raises:
        StoreError: The protocol is unknown, or its package is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        with self._explained():
            from fsspec.core import url_to_fs

            self._files, self._root = url_to_fs(self._url)

    def keys(self) -> set[str]:
        """Return the keys of all complete shards.

        Raises:
            StoreError: The store cannot be reached, or refuses the access.
        """
        with self._explained():
            self._files.invalidate_cache()
            if not self._files.exists(self._root):
                return set()
            names = (Path(name) for name in self._files.ls(self._root, detail=False))
            return {name.stem for name in names if name.suffix == ".json"}

    def put(self, folder: Path, entry: Entry) -> None:
        """Copy a finished shard from `folder` to the store.

        Raises:
            StoreError: The store cannot be reached, or refuses the access.
        """
        with self._explained():
            if not BUCKETS.intersection(_names(self._files.protocol)):
                self._files.makedirs(self._root, exist_ok=True)
            self._files.pipe_file(
                self._path(entry.key, "arrow"), (folder / entry.file).read_bytes()
            )
            note = json.dumps(asdict(entry), sort_keys=True).encode()
            self._files.pipe_file(
                self._path(entry.key, "json"), note
            )  # last: the shard is complete

    def fetch(self, shard: Shard, folder: Path) -> Entry:
        """Copy a shard from the store to `folder`, and return its entry.

        Raises:
            StoreError: The store cannot be reached, or the shard is damaged there.
        """
        with self._explained():
            content = self._files.cat_file(self._path(shard.key, "arrow"))
            given = json.loads(self._files.cat_file(self._path(shard.key, "json")))
            found = replace(Entry(**given), file=shard.file)
        if hashlib.sha256(content).hexdigest() != found.sha256 or found.rows != len(shard.ids):
            raise StoreError(
                f"{self._url}/{shard.key}.arrow is damaged: delete it and its .json, and rerun embed."
            )
        write_atomic(folder / found.file, content)
        write_entry(folder, found)
        return found

    def _path(self, key: str, suffix: str) -> str:
        return f"{self._root}/{key}.{suffix}"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise `StoreError` instead of the errors of file systems, which have no common base class."""
        try:
            yield
        except PolydistillError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
            raise StoreError(f"embed.exchange: {self._url} cannot be used: {reason}.") from error


def _names(protocol: str | tuple[str, ...]) -> tuple[str, ...]:
    return (protocol,) if isinstance(protocol, str) else protocol
