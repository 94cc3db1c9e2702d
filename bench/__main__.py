"""Run the benchmarks in this folder: `python -m bench [name …]`."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import cast

from bench.measure import Row
from polydistill.config.environment import prepare
from polydistill.project.files import write_atomic

FOLDER = Path(__file__).parent
NOT_BENCHMARKS = {"measure"}
COLUMNS = ("name", "ours", "peer", "ratio", "spread", "goal", "unit")


def machine() -> str:
    """Return a name for this machine: its processor and number of cores."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    models = re.findall(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    model = models[0] if models else "unknown processor"
    return f"{re.sub(r'[^a-z0-9]+', '-', model.lower()).strip('-')}-{os.cpu_count()}"


def main(names: list[str], device: str | None = None) -> None:
    """Run benchmarks and print a table; when all are run, also write `bench/results/<machine>.json`."""
    prepare()
    from rich.console import Console
    from rich.table import Table

    files = [file.stem for file in FOLDER.glob("[!_]*.py") if file.stem not in NOT_BENCHMARKS]
    known = sorted(file.replace("_", "-") for file in files)
    if unknown := set(names) - set(known):
        sys.exit(f"Unknown benchmark {min(unknown)!r}. Known: {', '.join(known)}.")
    rows = [row for name in names or known for row in run_bench(name, device)]
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*(formatted(row.get(column, "")) for column in COLUMNS))
    Console(width=140).print(table)
    if not names:
        path = FOLDER / "results" / f"{machine()}.json"
        write_atomic(path, json.dumps(rows, indent=1) + "\n")


def run_bench(name: str, device: str | None) -> list[Row]:
    """Run one benchmark, on `device` if one is given."""
    run = import_module(f"bench.{name.replace('-', '_')}").run
    if device is None:
        return cast("list[Row]", run())
    if "device" not in inspect.signature(run).parameters:
        sys.exit(f"Benchmark {name!r} has no option --device: omit it.")
    return cast("list[Row]", run(device=device))


def formatted(value: object) -> str:
    """Return a number, a pair of numbers or a text in the format of the table."""
    if isinstance(value, tuple):
        return " to ".join(formatted(one) for one in value)
    return f"{value:,}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench", description=main.__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help="the benchmarks to run; by default, all"
    )
    parser.add_argument("--device", help="cpu or cuda, for the benchmarks that take a device")
    given = parser.parse_args()
    main(given.names, given.device)
