"""Put finished files and folders in place, also across file systems, and know a full disk when it shows."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

FULL_DISK = ("No space left on device", "PytorchStreamWriter failed", "database or disk is full")
"""What libraries say that hide the error number."""


def put_in_place(made: Path, target: Path) -> None:
    """Make `made`, a file or a folder, take the place of `target`; nothing half-written stands there.

    A folder cannot replace another in one step: a reader in that moment finds none, never half of one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if _device(made) != _device(target.parent):
        made = _carried_over(made, target)
    if made.is_dir():
        shutil.rmtree(target, ignore_errors=True)
    made.replace(target)


def is_full_disk(error: BaseException) -> bool:
    """Say whether a full disk is behind an error, or behind what caused it."""
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
