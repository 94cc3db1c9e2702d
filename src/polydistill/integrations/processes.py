"""Commands in process groups of their own: output as it comes, and no child left when one is stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from polydistill.errors import StageError

GRACE_S = 5.0
KEPT_LINES = 200
_running: set[subprocess.Popen[str]] = set()
_stopped: set[subprocess.Popen[str]] = set()
_lock = threading.RLock()


@dataclass(frozen=True)
class Finished:
    """A command that ended by itself.

    Attributes:
        exit_code: Its exit code; minus the signal's number where a signal ended it.
        lines: The last lines of what it said.
        seconds: How long it took.
    """

    exit_code: int
    lines: tuple[str, ...]
    seconds: float


def run_command(
    command: Sequence[str],
    root: Path,
    *,
    timeout_s: float,
    hidden: Container[str] | None = (),
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run a command in `root` and pass its lines on to our own standard output as they come.

    Its PATH begins with the folder of this interpreter, so that it finds the commands installed there.

    Args:
        command: Program and arguments.
        root: The folder it runs in.
        timeout_s: Seconds after which the whole process group is killed.
        hidden: Lines that are not passed on; None: all of them.
        environment: Variables that it has beside ours, or in place of them.

    Raises:
        StageError: It could not start, ran into the timeout, or was stopped by `stop_all`.
    """
    started = time.monotonic()
    process = _start(command, root, environment or {})
    timer = threading.Timer(timeout_s, _stop, [process])
    timer.daemon = True
    timer.start()
    try:
        lines = _follow(process, hidden)
        exit_code = process.wait()
    finally:
        timer.cancel()
        _end(process)
    seconds = time.monotonic() - started
    if process in _stopped:
        with _lock:
            _stopped.discard(process)
        limit = f" after its limit of {timeout_s:g} s" if seconds >= timeout_s else ""
        raise StageError(f"`{' '.join(command)}` was stopped{limit}.")
    return Finished(exit_code, lines, seconds)


def stop_all() -> None:
    """Kill every command that `run_command` is running in this process, children included."""
    with _lock:
        running = list(_running)
    for process in running:
        _stop(process)


@contextmanager
def stopped_on_failure() -> Iterator[None]:
    """Leave no command behind when the block is left by an error, a cancellation or Ctrl-C."""
    try:
        yield
    except BaseException:
        stop_all()
        raise


def child_environment() -> Mapping[str, str]:
    """Return our environment for a child: this interpreter's commands first, lines unbuffered."""
    folder, path = str(Path(sys.executable).parent), os.environ.get("PATH", "")
    if path.split(os.pathsep)[0] != folder:
        path = os.pathsep.join([folder, path])
    columns = str(shutil.get_terminal_size().columns)
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": columns}


def _start(
    command: Sequence[str], root: Path, environment: Mapping[str, str]
) -> subprocess.Popen[str]:
    try:
        with _lock:  # what stops all must not miss one that has begun and is not known yet
            process = subprocess.Popen(
                command,
                cwd=root,
                env={**child_environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            _running.add(process)
    except OSError as error:
        raise StageError(f"`{command[0]}` cannot start in {root.resolve()}: {error}.") from error
    return process


def _follow(process: subprocess.Popen[str], hidden: Container[str] | None) -> tuple[str, ...]:
    """Pass lines on until the command closes its output; return the last ones."""
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    for line in process.stdout or ():
        kept.append(line.rstrip())
        if hidden is not None and line.rstrip() not in hidden:
            sys.stdout.write(line)
            sys.stdout.flush()
    return tuple(kept)


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask the group to end, and kill what is left of it after `GRACE_S`."""
    with _lock:
        if process not in _running:
            return
        _stopped.add(process)
    _signal(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    _signal(process, signal.SIGKILL)


def _end(process: subprocess.Popen[str]) -> None:
    """Leave nothing of the group behind, however its command ended."""
    _signal(process, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
    with _lock:
        _running.discard(process)


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # the group is empty, or all zombies
        os.killpg(process.pid, number)
