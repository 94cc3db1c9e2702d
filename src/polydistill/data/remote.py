"""Files of an object store, or of any other file system that fsspec knows."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from polydistill.errors import DataError, MissingDataError, PolydistillError

URL = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class RemoteFile:
    """A file with the methods of `Path` that reading a table needs.

    Attributes:
        files: The file system of fsspec.
        path: The path of the file in it.
        shown: The URL in messages.
    """

    files: Any
    path: str
    shown: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name

    @property
    def suffix(self) -> str:
        """The last suffix of the name, with its dot."""
        return PurePosixPath(self.path).suffix

    def open(self, mode: str = "rb") -> Any:
        """Open the file; parts are read when they are needed."""
        return self.files.open(self.path, mode)

    def __str__(self) -> str:
        return self.shown


def is_remote(path: str) -> bool:
    """Return whether a path is a URL, such as `s3://bucket/folder/*.parquet`."""
    return URL.match(path) is not None


def remote_files(url: str) -> list[RemoteFile]:
    """Return the files at a URL, sorted by path: one file, those in a folder, or those that a glob matches.

    Raises:
        MissingDataError: There is no such file.
        DataError: The store cannot be reached, refuses the access, or needs a package that is not installed.
    """
    with explained(url):
        from fsspec.core import url_to_fs

        files, path = url_to_fs(url)
        if MAGIC.search(path):
            found = files.glob(path)
        elif files.isfile(path):
            found = [path]
        else:
            found = files.ls(path, detail=False) if files.isdir(path) else []
        scheme = url.partition("://")[0]
        kept = [one for one in sorted(found) if files.isfile(one)]
    if not kept:
        raise MissingDataError(f"No file {url}: correct the URL.")
    return [RemoteFile(files, one, f"{scheme}://{one.lstrip('/')}") for one in kept]


@contextmanager
def explained(
    what: str, kind: type[PolydistillError] = DataError, verb: str = "read"
) -> Iterator[None]:
    """Raise `kind` instead of the errors of file systems, which have no common base class."""
    try:
        yield
    except PolydistillError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise kind(f"{what} cannot be {verb}: {reason[:300].rstrip('.')}.") from error
