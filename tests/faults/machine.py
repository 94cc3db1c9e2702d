"""Runs commands under the preload library, which injects a fault at a chosen operation on the project's files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.life import preloaded

SOURCE = Path(__file__).with_name("preload.c")
KINDS = ("kill", "term", "enospc", "eio", "emfile", "erofs", "clock-back", "clock-ahead")
"""The faults, in the order of the library's numbers."""
TIMEOUT_S = 300
NO_COMPILER = (
    "The fault harness compiles tests/faults/preload.c and needs a C compiler: install `cc`."
)


@dataclass(frozen=True)
class Finished:
    """The end of a command: exit code, output, and the number of counted operations."""

    code: int
    output: str
    operations: int


@dataclass(frozen=True)
class Machine:
    """A folder for trials, and the programs of the fork server.

    Attributes:
        folder: The folder with the project in `place`, and copies of it in `bases`.
        programs: The folder of the programs.
    """

    folder: Path
    programs: Path

    @property
    def place(self) -> Path:
        """The folder below which operations are counted."""
        return self.folder / "place"

    @property
    def root(self) -> Path:
        """The project folder. It always has this path, because MLflow's database contains it."""
        return self.place / "project"

    def run(
        self,
        *command: str,
        fault: str = "kill",
        at: int | None = None,
        root: Path | None = None,
        changes: Mapping[str, str | None] | None = None,
    ) -> Finished:
        """Run a command in the project.

        Args:
            command: `stage`, `dvc` or `polydistill`, and its arguments.
            fault: One of `KINDS`.
            at: The operation at which it happens. Zero: operations are only counted. None: not even that.
            root: Another project folder.
            changes: Environment variables that are set, or removed if None.
        """
        counter = self.folder / "counter"
        counter.write_bytes(bytes(8))
        environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
        environment |= {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(self.place / "site"),
            "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
            "POLYDISTILL_ACTOR": "faults",
        }
        environment.pop("MLFLOW_TRACKING_URI", None)
        if at is not None:
            plan = [str(self.place), str(counter), at, KINDS.index(fault)]
            environment[preloaded.FAULT] = json.dumps(plan)
        for key, value in (changes or {}).items():
            environment.pop(key, None)
            environment |= {} if value is None else {key: value}
        try:
            done = subprocess.run(
                [str(self.programs / command[0]), *command[1:]],
                cwd=root or self.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            return Finished(-1, f"Timeout of {TIMEOUT_S} s. {error.output!r}", 0)
        count = int.from_bytes(counter.read_bytes(), "little")
        return Finished(done.returncode, done.stdout.decode(errors="replace"), count)

    def keep(self, name: str) -> None:
        """Copy the present state to the base `name`."""
        shutil.rmtree(self.folder / "bases" / name, ignore_errors=True)
        shutil.copytree(self.place, self.folder / "bases" / name, symlinks=True)

    def reset(self, name: str) -> None:
        """Bring back the state of the base `name`."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.folder / "bases" / name, self.place, symlinks=True)


@contextmanager
def started(folder: Path) -> Iterator[Machine]:
    """Compile the library and start the fork server.

    Raises:
        RuntimeError: There is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise RuntimeError(NO_COMPILER)
    folder.mkdir(parents=True, exist_ok=True)
    library = folder.resolve() / "libfault.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    with preloaded.served(library) as programs:
        yield Machine(folder.resolve(), programs)
