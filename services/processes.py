"""A server as a child process: found, started, waited for, stopped."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from polydistill.errors import MissingDataError, StageError

HOST = "127.0.0.1"
STARTUP_S = 300.0  # MLflow imports for a minute on a busy machine
GRACE_S = 15.0
LOG_LINES = 15


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def find_program(name: str, folders: str, advice: str) -> Path:
    """Return a program on PATH, or in the newest folder that matches a pattern under `/`.

    Raises:
        MissingDataError: It is nowhere; `advice` says how to get it.
    """
    if found := shutil.which(name):
        return Path(found).resolve()
    candidates = sorted(Path("/").glob(f"{folders}/{name}"))
    if not candidates:
        raise MissingDataError(f"No program {name!r} on PATH: {advice}")
    return candidates[-1]


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    log: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    user: str | None = None,
) -> Iterator[None]:
    """Run a server until the end of the block; its output goes to `log`.

    Args:
        command: Program and arguments.
        log: A file.
        ready: Says whether it answers; asked until it does.
        env: Variables beside ours.
        user: Whose process it is, where that is not us.

    Raises:
        StageError: It ended, or did not answer within `STARTUP_S`; the message has its last lines.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=log.parent,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
        )
    try:
        _wait(process, ready, log)
        yield
    finally:
        _stop(process)


def answers(port: int, path: str = "") -> Callable[[], bool]:
    """Return a question: does an HTTP server on this port answer this path with 200?"""
    import urllib.request

    def ask() -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    return ask


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + STARTUP_S
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
            raise StageError("\n".join([f"{log.stem} did not start:", *lines]))
        time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, as Ctrl-C would, and kill what is left of its group."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
