"""The commands `polydistill` and `dvc` as forks of one server process that has imported everything.

A run starts some thirty processes, whose imports would take minutes. A fork is a separate process too (it can be
killed, it holds locks, it shares no memory), and starts in milliseconds. Small programs on the PATH pass their
arguments, environment, folder and streams to the server, and exit with the exit code of the fork. The server can also
set the clock and kill a command at a chosen point.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

REPOSITORY = Path(__file__).parents[2]
CLOCK, DEATH = "SHOP_CLOCK", "SHOP_DEATH"
"""Environment variables: the time for the ledger, and the command that is killed between two writes."""
FAULT = "FAULT_PLAN"
"""Environment variable: the arguments of `arm` in tests/faults/preload.c, as JSON."""
USAGE = "SHOP_USAGE"
"""Environment variable: a file to which each command appends its peak resident memory, in kB."""
PROGRAMS = ("polydistill", "dvc", "stage")
IMPORTED = [
    "dvc.cli", "dvc.repo", "great_expectations", "mlflow.pyfunc", "mteb", "sklearn.linear_model",
    "polydistill.cli.app", "polydistill.integrations.mlflow", "polydistill.integrations.planning",
    "polydistill.report.page", "polydistill.stages.distill", "polydistill.stages.embed",
    "polydistill.stages.evaluate", "recipes.fetch", "polydistill.stages.validate",
]  # fmt: skip
START_TIMEOUT_S = 300.0
PROGRAM = """\
#!{python} -SE
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.connect({address!r})
call = json.dumps([{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(call).to_bytes(8, "big")], [0, 1, 2])
server.sendall(call)
code = server.recv(1)
if not code:  # it was killed
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(code[0])
"""


@contextmanager
def served(library: Path | None = None) -> Iterator[Path]:
    """Start the server; yield a folder with the programs, which work until the end of the block.

    Args:
        library: A library that the server loads before all others.
    """
    with TemporaryDirectory(
        prefix="polydistill-"
    ) as name:  # short, because the path of a socket has at most 108 bytes
        folder = Path(name)
        address = folder / "socket"
        _write_programs(folder, address)
        sources = {"PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY}"}
        sources |= {"LD_PRELOAD": str(library)} if library else {}
        command = [sys.executable, "-m", "tests.life.preloaded", str(address)]
        server = subprocess.Popen(command, env={**os.environ, **sources})
        try:
            _wait_for(server, address)
            yield folder
        finally:
            server.terminate()
            server.wait()


def _write_programs(folder: Path, address: Path) -> None:
    for name in PROGRAMS:
        program = folder / name
        content = PROGRAM.format(python=sys.executable, address=str(address), name=name)
        program.write_text(content)
        program.chmod(0o755)


def _wait_for(server: subprocess.Popen[bytes], address: Path) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while not address.exists():
        if server.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"The server of {address.parent} has not come up.")
        time.sleep(0.05)


def serve(address: str) -> None:
    """Import everything, then fork for each call."""
    from polydistill.config import environment

    environment.prepare()
    for name in IMPORTED:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps finished forks
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(f"{address}.bound")
    listening.listen()
    Path(f"{address}.bound").rename(address)
    while True:
        caller, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _answer(caller)
        caller.close()


def _answer(caller: socket.socket) -> None:
    """Run the requested command and send the exit code to the caller; if this process is killed, send nothing."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(caller, 8, 3)
    name, arguments, folder, environment = json.loads(_receive(caller, int.from_bytes(size, "big")))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ |= environment
    tempfile.tempdir = None  # TMPDIR may have changed
    here = str(Path(sys.argv[1]).parent)
    os.environ["PATH"] = os.pathsep.join(
        [here, os.environ["PATH"]]
    )  # stages run by DVC use the same programs
    sys.argv = [name, *arguments]
    threading.Thread(target=_end_with, args=(caller,), daemon=True).start()
    code = 1
    try:
        code = _run(name, arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - prints the error as the interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        if USAGE in os.environ:
            with Path(os.environ[USAGE]).open("a") as file:
                file.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\n")
        caller.sendall(bytes([code % 256]))
        os._exit(code)


def _end_with(caller: socket.socket) -> None:
    """Kill this process when the program that called it is killed, as if both were one."""
    caller.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


def _receive(caller: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        content += caller.recv(size - len(content))
    return content


def _run(name: str, arguments: list[str]) -> int:
    if FAULT in os.environ:
        folder, counter, target, kind = json.loads(os.environ[FAULT])
        ctypes.CDLL(None).arm(folder.encode(), counter.encode(), ctypes.c_long(target), kind)
    if name == "dvc":
        from dvc.cli import main as dvc

        return int(dvc(arguments))
    from polydistill.cli.app import main
    from polydistill.integrations.dvc import stages as integration

    vars(integration)["DVC"] = (str(Path(os.environ["PATH"].split(os.pathsep)[0]) / "dvc"),)
    if CLOCK in os.environ:
        _set_clock()
    if name == "stage":
        import typer

        from polydistill.cli.console import report_errors

        try:
            with report_errors():
                integration.reproduce(Path(), arguments[0])
        except typer.Exit as end:
            return end.exit_code
        return 0
    if os.environ.get(DEATH) == arguments[0]:
        _die_between_ledger_and_registry()
    main()
    return 0


def _set_clock() -> None:
    from polydistill.integrations.mlflow import ledger as mlflow_ledger
    from polydistill.registry.recorded import RecordedRegistry

    moment = datetime.fromisoformat(os.environ[CLOCK])
    clocked: Any = partial(RecordedRegistry, now=lambda: moment)
    vars(mlflow_ledger)["RecordedRegistry"] = clocked


def _die_between_ledger_and_registry() -> None:
    from polydistill.integrations.mlflow.registry import MlflowRegistry

    def die(*_arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(MlflowRegistry, "set_alias", die)  # noqa: B010 - mypy forbids assigning to a method


if __name__ == "__main__":
    serve(sys.argv[1])
