"""Writes files atomically, computes checksums, moves finished folders across file systems, and detects a full disk."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polydistill.errors import MissingDataError, ParamsError, PolydistillError, short

FULL_DISK = ("No space left on device", "PytorchStreamWriter failed", "database or disk is full")
"""Messages about a full disk from libraries that do not pass on the error number."""


def write_atomic(path: Path, content: str | bytes | memoryview, *, durable: bool = False) -> None:
    """Write a file atomically, with one rename: a reader sees either the old or the new content.

    Args:
        path: The file; its folder is created if it is missing.
        content: The new content; text is encoded as UTF-8.
        durable: Whether to wait until the content is on the disk, so that it survives a power failure.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)  # a full disk leaves it behind
        raise


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_writable(path: Path) -> None:
    """Check, before a long operation, that its result can be written to a file.

    Raises:
        MissingDataError: The folder of the file does not exist.
        ParamsError: The path is a folder, or the file or its folder is read-only.
    """
    if not path.parent.is_dir():
        raise MissingDataError(f"No folder {path.parent} for {path.name}: create it first.")
    if path.is_dir():
        raise ParamsError(f"{path} is a folder: name a file in it.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ParamsError(f"{path} cannot be written: change its permissions, or name another.")


@contextmanager
def written_to(folder: object) -> Iterator[Path]:
    """Yield the path of a folder in which the block writes, and explain why it cannot be written.

    Raises:
        ParamsError: `folder` is not a path, or the block cannot write there.
    """
    if not isinstance(folder, str | os.PathLike) or not str(folder):
        raise ParamsError(f"A folder must be given as a path, got {short(folder)}.")
    try:
        yield Path(folder)
    except (OSError, ValueError) as error:
        if isinstance(error, PolydistillError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise ParamsError(
            f"{short(os.fspath(folder))} cannot be written: {reason}. Choose another folder."
        ) from error


def put_in_place(made: Path, target: Path) -> None:
    """Move a finished file or folder to `target`, and replace an existing one.

    Replacing a folder takes two steps. Between them a reader finds no folder, but never a partial one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if _device(made) != _device(target.parent):
        beside = target.with_name(f".{target.name}.next")  # on the file system of the target
        remove(beside)
        try:
            made = Path(shutil.move(made, beside))
        except OSError:
            remove(beside)
            raise
    if made.is_dir():
        remove(target)  # also a file or a link, which a folder cannot replace
    made.replace(target)


def copy_folder(
    source: Path, target: Path, write: Callable[[str, str], object] = shutil.copy2, **options: Any
) -> None:
    """Copy a folder as `shutil.copytree` does, but raise the system's own error, with its number and file.

    Args:
        source: The folder.
        target: Its copy.
        write: A function that copies one file to a path.
        options: Further arguments of `shutil.copytree`.

    Raises:
        OSError: A file cannot be read or written.
    """
    failures = list[OSError]()

    def copy(one: str, other: str) -> object:
        try:
            return write(one, other)
        except OSError as error:
            failures.append(error)
            raise

    try:
        shutil.copytree(source, target, copy_function=copy, **options)
    except shutil.Error as error:  # a list of texts
        raise (failures or [error])[0] from None


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_full_disk(error: BaseException) -> bool:
    """Return whether an error, or one of its causes, reports a full disk."""
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "errno", None) == errno.ENOSPC or any(
            sign in str(cause) for sign in FULL_DISK
        ):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _device(path: Path) -> int:
    return path.stat().st_dev
