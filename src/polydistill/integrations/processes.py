"""Runs each command in its own process group, shows output immediately, and leaves no child after a stop."""

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
from tempfile import TemporaryFile

from polydistill.config.environment import path_of_commands
from polydistill.errors import StageError

GRACE_S = 5.0
WATCH_S, FAILURES = 5.0, 2
KEPT_LINES = 200
_running: dict[subprocess.Popen[str], bool] = {}
"""The running commands, and whether this process has stopped each of them."""
_lock = threading.RLock()


@dataclass(frozen=True)
class Finished:
    """The result of a command that was not stopped by this process.

    Attributes:
        exit_code: The exit code; the negative signal number if a signal ended the command.
        lines: The last lines of its output.
        seconds: The duration.
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
    """Run a command in `root` and copy each line of its output to standard output immediately.

    The folder of this interpreter is first on its PATH, so that it finds the commands installed there.

    Args:
        command: Program and arguments.
        root: The working folder.
        timeout_s: Seconds after which the whole process group is killed.
        hidden: Lines that are not copied. If None, no line is copied.
        environment: Environment variables that are added to, or replace, those of this process.

    Raises:
        StageError: The command could not start, exceeded the timeout, was stopped by `stop_all`, or can no longer
            write to `root`.
    """
    started = time.monotonic()
    try:
        with _lock:  # so that `stop_all` does not miss a process that has just started
            process = subprocess.Popen(
                command,
                cwd=root,
                env={**child_environment(), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            _running[process] = False
    except OSError as error:
        raise StageError(f"`{command[0]}` cannot start in {root.resolve()}: {error}.") from error
    ended, reasons = threading.Event(), list[str]()
    threading.Thread(
        target=_watch, args=(process, root, timeout_s, ended, reasons), daemon=True
    ).start()
    lines: deque[str] = deque(maxlen=KEPT_LINES)
    with process:
        try:
            for line in process.stdout or ():
                lines.append(line.rstrip())
                if hidden is not None and line.rstrip() not in hidden:
                    sys.stdout.write(line)
                    sys.stdout.flush()
            exit_code = process.wait()
        finally:
            ended.set()
            _signal(process, signal.SIGKILL)  # children that the command left behind
            with _lock:
                stopped = _running.pop(process)
    seconds = time.monotonic() - started
    if stopped:
        raise StageError(f"`{' '.join(command)}` was stopped{''.join(reasons)}.")
    return Finished(exit_code, tuple(lines), seconds)


def stop_all() -> None:
    """Kill every command that `run_command` is running in this process, including child processes."""
    with _lock:
        running = list(_running)
    for process in running:
        _stop(process)


@contextmanager
def stopped_on_failure() -> Iterator[None]:
    """Stop every command if an error, a cancellation or Ctrl-C ends the block."""
    try:
        yield
    except BaseException:
        stop_all()
        raise


def child_environment() -> Mapping[str, str]:
    """Return the environment of a child process: this interpreter's folder first on PATH, unbuffered output."""
    columns = str(shutil.get_terminal_size().columns)
    own = {"PATH": path_of_commands(), "PYTHONUNBUFFERED": "1", "COLUMNS": columns}
    return {**os.environ, **own}


def _watch(
    process: subprocess.Popen[str],
    root: Path,
    timeout_s: float,
    ended: threading.Event,
    reasons: list[str],
) -> None:
    """Stop a command after its limit, or when its folder can no longer be written: DVC would try for ever."""
    limit, failed = time.monotonic() + timeout_s, 0
    temporary = root / ".dvc" / "tmp"  # git and DVC ignore it
    folder = temporary if temporary.is_dir() else root
    is_watched = _problem_of_writing(folder) is None
    while not ended.wait(min(WATCH_S, max(0.0, limit - time.monotonic()))):
        problem = _problem_of_writing(folder) if is_watched else None
        failed = failed + 1 if problem else 0
        if time.monotonic() >= limit:
            reasons.append(f" after its limit of {timeout_s:g} s")
        elif failed >= FAILURES:  # a command with an error of its own has ended by now
            reasons.append(f": {root.resolve()} cannot be written now ({problem}). Run again later")
        else:
            continue
        _stop(process)
        return


def _problem_of_writing(folder: Path) -> str | None:
    """Write to a file without a name in a folder, and return what prevents it."""
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        return error.strerror
    return None


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask the process group to end, and kill the remaining processes after `GRACE_S`."""
    with _lock:
        if process not in _running:
            return
        _running[process] = True
    _signal(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # the group is empty, or all zombies
        os.killpg(process.pid, number)
