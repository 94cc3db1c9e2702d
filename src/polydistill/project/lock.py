"""One project folder, one run: a lock that the system takes back when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from polydistill.errors import InfrastructureError

POLL_S = 1.0


@contextmanager
def occupied(lock: Path, who: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a folder's lock while the block runs.

    Args:
        lock: The file; made if need be, and never removed: what counts is who holds it.
        who: What we are, for the one who finds the folder occupied.
        wait_s: So long we wait for another run to end.

    Raises:
        InfrastructureError: Another run holds it; the message says which.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+", encoding="utf-8") as file:
        _acquire(file, lock, wait_s)
        file.truncate(0)
        json.dump({"pid": os.getpid(), "who": who}, file)
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
            fcntl.flock(file, fcntl.LOCK_UN)


def _acquire(file: IO[str], lock: Path, wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            left = until - time.monotonic()
            if left <= 0:
                waited = f" after {wait_s:g} s" if wait_s else ""
                raise InfrastructureError(
                    f"{lock.parent.parent.resolve()} is occupied{waited} by {_holder(lock)}. Wait for"
                    " it to end, or give the second run a workspace of its own."
                ) from None
            time.sleep(min(POLL_S, left))
        else:
            return


def _holder(lock: Path) -> str:
    try:
        found = json.loads(lock.read_text(encoding="utf-8"))
    except ValueError:  # it has the lock, and has not said yet who it is
        return "another run"
    return f"{found['who']} (process {found['pid']})"
