"""Start-up time of the command line, against importing the library that it is built on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.measure import Row, best_seconds, compare_seconds

HELP = [str(Path(sys.executable).parent / "polydistill"), "--help"]
PEER = [sys.executable, "-c", "import typer"]


def run() -> list[Row]:
    """Time `polydistill --help` and `import typer` in turn."""
    seconds = best_seconds(lambda: _call(HELP), lambda: _call(PEER))
    return [compare_seconds("start-up: polydistill --help, against import typer", seconds)]


def _call(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)
