"""Restores the files that a killed DVC left half-written, and with which DVC does not start again."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import psutil
import yaml
from filelock import FileLock, Timeout
from pydantic import BaseModel, Field, ValidationError

from polydistill.errors import StoreError
from polydistill.integrations import git
from polydistill.project.files import remove, write_atomic

LOCK_FILE = Path("dvc.lock")
TMP = Path(".dvc") / "tmp"
RWLOCK = TMP / "rwlock"
GOOD_LOCK = Path(".polydistill") / "dvc.lock"
"""A copy of the last complete `dvc.lock`."""
UNFINISHED = re.compile(r"\.[\w-]{22}\.tmp")
"""The names under which DVC writes a file before it renames it."""
WAIT_S = 10.0
MARKERS = re.compile(rb"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
_log = logging.getLogger(__name__)


class _Path(BaseModel):
    path: str
    md5: str = ""
    hash: str = ""
    size: int = 0
    nfiles: int = 0


class _Stage(BaseModel):
    cmd: str | list[str]
    deps: list[_Path] = []
    params: dict[str, dict[str, Any]] = {}
    outs: list[_Path] = []


class _Lock(BaseModel):
    version: Literal["2.0"] = Field(alias="schema")
    stages: dict[str, _Stage] = {}


class _Holder(BaseModel):
    pid: int


class _RwLock(BaseModel):
    write: dict[str, _Holder] = {}
    read: dict[str, list[_Holder]] = {}


def recover(root: Path) -> None:
    """Restore `dvc.lock`, and remove DVC's lock on paths and its temporary files, after a process was killed.

    `dvc.lock` is restored from the copy of the last complete one, which this function keeps, or from git. Without
    either it is removed; DVC then restores the stages from its cache or runs them again.

    Raises:
        StoreError: `dvc.lock` has conflict markers of git.
    """
    _recover_lock(root)
    if not running(root) and not _is_free(root):
        with _held(root, "rwlock.lock") as is_held:  # DVC may be writing the file at this moment
            if is_held and not running(root) and not _is_free(root):
                remove(root / RWLOCK)
                _remove_unfinished(root)
                _log.warning(f"{RWLOCK} belonged to a DVC process that was killed: removed.")


def _remove_unfinished(root: Path) -> None:
    for folder in ("data", "artifacts", "reports"):
        for path in (root / folder).rglob(".*.tmp"):
            if UNFINISHED.fullmatch(path.name):
                remove(path)


def running(root: Path) -> set[int]:
    """Return the ids of the running processes that hold DVC's locks on paths; a half-written lock has no holder."""
    path = root / RWLOCK
    try:
        locks, written = _RwLock.model_validate_json(path.read_bytes()), path.stat().st_mtime
    except (OSError, ValidationError):
        return set()
    holders = chain(locks.write.values(), *locks.read.values())
    return {one.pid for one in holders if _is_running(one.pid, written)}


def _is_running(pid: int, since: float) -> bool:
    """Return whether a process is running that started before `since`; a later one has a reused id."""
    try:
        started = float(psutil.Process(pid).create_time())
    except (psutil.Error, ValueError, OverflowError):
        return False
    return started <= since + 1  # times of files and of processes are rounded differently


def _is_free(root: Path) -> bool:
    """Return whether DVC's lock is complete and no path is locked."""
    try:
        locks = _RwLock.model_validate_json((root / RWLOCK).read_bytes())
    except (OSError, ValidationError):
        return not (root / RWLOCK).exists()
    return not locks.write and not locks.read


def _recover_lock(root: Path) -> None:
    path, good = root / LOCK_FILE, root / GOOD_LOCK
    content, kept = _read(path), _read(good)
    if content in {None, kept}:
        return
    if not _is_complete(content):
        with _held(root, "lock") as is_held:  # see `recover`
            content = _read(path)
            if content is not None and not _is_complete(content) and is_held:
                _restore(root, kept)
            return
    write_atomic(good, content or b"")


def _restore(root: Path, kept: bytes | None) -> None:
    sources = {"its last complete copy": kept, "git": git.committed(root, LOCK_FILE)}
    for name, content in sources.items():
        if content is not None and _is_complete(content):
            write_atomic(root / LOCK_FILE, content)
            _log.warning(f"{LOCK_FILE} was half-written by a killed process: restored from {name}.")
            return
    (root / LOCK_FILE).unlink()
    _log.warning(
        f"{LOCK_FILE} was half-written by a killed process: removed. DVC restores the stages from its cache or runs "
        "them again."
    )


def _is_complete(content: bytes | None) -> bool:
    """Return whether DVC can read a `dvc.lock`, and no line is cut.

    Raises:
        StoreError: It has conflict markers.
    """
    if marker := MARKERS.search(content or b""):
        line = (content or b"").count(b"\n", 0, marker.start()) + 1
        raise StoreError(
            f"{LOCK_FILE} has conflict markers of git (line {line}): run `git checkout --theirs {LOCK_FILE}` or "
            f"`git checkout --ours {LOCK_FILE}`, then run this again."
        )
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, if it was built
    try:
        _Lock.model_validate(yaml.load(content or b"", loader))  # noqa: S506 - both are safe
    except (yaml.YAMLError, ValidationError, RecursionError):
        return False
    return (content or b"").endswith(b"\n")


def _read(path: Path) -> bytes | None:
    """Return the content of a file, or None if there is none.

    Raises:
        StoreError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(
            f"{path} must be a readable file: {error.strerror}. Move it away."
        ) from error


@contextmanager
def _held(root: Path, name: str) -> Iterator[bool]:
    """Hold one of DVC's own locks while the block runs; yield False if another process keeps it."""
    (root / TMP).mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / TMP / name)
    try:
        lock.acquire(timeout=WAIT_S)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
