"""Lock files; a process that cannot acquire the lock gets an error that names the holder."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from polydistill.errors import InfrastructureError
from polydistill.project.files import write_atomic


@contextmanager
def project_lock(lock: Path, who: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of a project folder while the block runs; see `held`.

    Args:
        lock: The path `Layout.run_lock`.
        who: The name of this run, for the error of another run.
        wait_s: The longest time to wait for another run to end, in seconds.

    Raises:
        InfrastructureError: Another run holds the lock.
    """
    advice = "Wait for it to end, or give the second run a workspace of its own."
    with held(lock, who, str(lock.parent.parent.resolve()), wait_s=wait_s, advice=advice):
        yield


@contextmanager
def held(lock: Path, who: str, what: str, *, wait_s: float, advice: str) -> Iterator[None]:
    """Hold a lock file while the block runs.

    The operating system releases the lock when the holding process ends, even if it is killed. The lock file remains.

    Args:
        lock: The lock file; it is created if it is missing. The file `<lock>.holder` names the holder.
        who: The name of the holder, for the error of another process.
        what: The name of the locked resource.
        wait_s: The longest time to wait for another holder, in seconds.
        advice: A sentence for the error that tells the user what to do.

    Raises:
        InfrastructureError: Another process holds the lock for longer than `wait_s`; the message names that process.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    holder = lock.with_name(f"{lock.name}.holder")
    file = FileLock(lock)
    try:
        file.acquire(timeout=wait_s)
    except Timeout:
        waited = f" after {wait_s:g} s" if wait_s else ""
        raise InfrastructureError(
            f"{what} is locked{waited} by {_name_of(holder)} (lock file {lock}). {advice}"
        ) from None
    try:
        write_atomic(holder, json.dumps({"pid": os.getpid(), "who": who}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        file.release()


def _name_of(holder: Path) -> str:
    try:
        found = json.loads(holder.read_text(encoding="utf-8"))
        return f"{found['who']} (process {found['pid']})"
    except (OSError, ValueError, TypeError, LookupError):  # the holder has not written its name yet
        return "another process"
