"""Servers as child processes: find, start, wait for and stop them."""

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
STARTUP_S = 300.0  # on a busy machine, MLflow's imports alone take a minute
GRACE_S = 15.0
LOG_LINES = 15


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def find_program(name: str, folders: str, advice: str) -> Path:
    """Return the path of a program on PATH, or in the last folder under `/` that matches a pattern.

    Raises:
        MissingDataError: The program was not found. The message ends with `advice`.
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
    """Run a server until the end of the block.

    Args:
        command: The program and its arguments.
        log: The file that receives the output.
        ready: Returns whether the server answers; called until it does.
        env: Additional environment variables.
        user: The user to run the server as; None for the current user.

    Raises:
        StageError: The server ended, or did not answer within `STARTUP_S` seconds. The message holds its last lines.
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
    """Return a function that checks whether an HTTP server on this port answers this path with status 200."""
    import urllib.request

    def check() -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    return check


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + STARTUP_S
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
            raise StageError("\n".join([f"{log.stem} did not start:", *lines]))
        time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Interrupt the server as Ctrl-C does, then kill the rest of its process group."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
