"""Put finished files and folders in place, also across file systems, and recognise a full disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

FULL_DISK = ("No space left on device", "PytorchStreamWriter failed", "database or disk is full")
"""Messages of libraries that hide the error number."""


def write_atomic(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write a file with one rename: a reader finds the old content or the new one, never a part.

    Args:
        path: The file; its folder is made if need be.
        content: Text is written as UTF-8.
        durable: Wait until the content is on the disk, so that it survives a power cut.
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
        unfinished.unlink(missing_ok=True)  # of a disk that was full
        raise


def put_in_place(made: Path, target: Path) -> None:
    """Move a finished file or folder to `target`, which it replaces.

    A folder cannot replace another in one step: a reader in that moment finds none, never a part of one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if _device(made) != _device(target.parent):
        made = _carried_over(made, target)
    if made.is_dir():
        shutil.rmtree(target, ignore_errors=True)
    made.replace(target)


def is_full_disk(error: BaseException) -> bool:
    """Return whether an error, or one of its causes, is a full disk."""
    return any(
        getattr(one, "errno", None) == errno.ENOSPC or any(sign in str(one) for sign in FULL_DISK)
        for one in _chain(error)
    )


def _device(path: Path) -> int:
    return path.stat().st_dev


def _carried_over(made: Path, target: Path) -> Path:
    """Copy to the target's own file system, beside it."""
    beside = target.with_name(f".{target.name}.next")
    try:
        if made.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
            shutil.copytree(made, beside)
            shutil.rmtree(made)
        else:
            shutil.copyfile(made, beside)
            made.unlink()
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        beside.unlink(missing_ok=True)
        raise
    return beside


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
