"""Run every module of this folder that has a `run`: `python -m bench [name …]`."""

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
NOT_BENCHES = {"measure"}
COLUMNS = ("name", "ours", "peer", "ratio", "spread", "goal", "unit")


def machine() -> str:
    """Name this machine by its processor and the number of its cores."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    models = re.findall(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    model = models[0] if models else "unknown processor"
    return f"{re.sub(r'[^a-z0-9]+', '-', model.lower()).strip('-')}-{os.cpu_count()}"


def main(names: list[str], device: str | None = None) -> None:
    """Measure, print a table, and write `bench/results/<machine>.json`."""
    prepare()
    from rich.console import Console
    from rich.table import Table

    files = [file.stem for file in FOLDER.glob("[!_]*.py") if file.stem not in NOT_BENCHES]
    known = sorted(file.replace("_", "-") for file in files)
    if unknown := set(names) - set(known):
        sys.exit(f"Unknown bench {min(unknown)!r}. Known: {', '.join(known)}.")
    rows = [row for name in names or known for row in run_bench(name, device)]
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*(as_cell(row.get(column, "")) for column in COLUMNS))
    Console(width=140).print(table)
    if not names:
        path = FOLDER / "results" / f"{machine()}.json"
        write_atomic(path, json.dumps(rows, indent=1) + "\n")


def run_bench(name: str, device: str | None) -> list[Row]:
    """Run one bench, on a device if it is given one and knows what that is."""
    run = import_module(f"bench.{name.replace('-', '_')}").run
    if device is None:
        return cast("list[Row]", run())
    if "device" not in inspect.signature(run).parameters:
        sys.exit(f"Bench {name!r} has no device: leave --device out.")
    return cast("list[Row]", run(device=device))


def as_cell(value: object) -> str:
    """Return how a table shows a number, a pair of them, or a text."""
    if isinstance(value, tuple):
        return " to ".join(as_cell(one) for one in value)
    return f"{value:,}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="all, unless there are some")
    parser.add_argument("--device", help="cpu or cuda, for the benches that have one")
    given = parser.parse_args()
    main(given.names, given.device)
