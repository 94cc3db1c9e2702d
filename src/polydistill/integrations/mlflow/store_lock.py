"""One lock a tracking store: whoever moves aliases holds it, and the ledger gets no fork."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

from polydistill.errors import InfrastructureError
from polydistill.integrations.mlflow.store import SQLITE, shown, tracking_uri

LOCK_TIMEOUT_S = 600.0  # the gate may load two models meanwhile, and wait for its smoke test


@contextmanager
def held(root: Path) -> Iterator[None]:
    """Hold the lock that a tracking store has on this machine; a process that dies lets it go.

    Processes of other machines that share a server do not see it: `MlflowLedger.append` finds them out.

    Raises:
        InfrastructureError: Another process holds it for too long: worth another try.
    """
    from filelock import FileLock, Timeout

    uri = tracking_uri(root)
    path = _lock_file(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=LOCK_TIMEOUT_S)
    except Timeout as error:
        raise InfrastructureError(
            f"Another process has been moving aliases of {shown(uri, root)} for {LOCK_TIMEOUT_S:.0f} s "
            f"(it holds {path}). Wait for it or stop it, then run this again."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _lock_file(uri: str) -> Path:
    """Beside an SQLite database; for a server, among the user's temporary files."""
    if uri.startswith(SQLITE):
        return Path(f"{uri.removeprefix(SQLITE)}.ledger.lock")
    key = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return Path(gettempdir()) / f"polydistill-{os.getuid()}" / f"{key}.ledger.lock"
