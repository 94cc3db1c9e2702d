"""Run every module of this folder that has a `run`: `python -m bench [name …]`."""

from __future__ import annotations

import json
import os
import re
import sys
from importlib import import_module
from pathlib import Path

from polydistill.environment import prepare

FOLDER = Path(__file__).parent
NOT_BENCHES = {"__init__", "__main__", "measure"}


def machine() -> str:
    """Name this machine by its processor and the number of its cores."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    models = re.findall(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    model = models[0] if models else "unknown processor"
    return f"{re.sub(r'[^a-z0-9]+', '-', model.lower()).strip('-')}-{os.cpu_count()}"


def main(names: list[str]) -> None:
    """Measure, print a table, and write `bench/results/<machine>.json`."""
    prepare()
    from rich.console import Console
    from rich.table import Table

    known = sorted(file.stem for file in FOLDER.glob("*.py") if file.stem not in NOT_BENCHES)
    if unknown := set(names) - set(known):
        sys.exit(f"Unknown bench {min(unknown)!r}. Known: {', '.join(known)}.")
    rows = [row for name in names or known for row in import_module(f"bench.{name}").run()]
    table = Table("name", "ours", "peer", "ratio", "unit")
    for row in rows:
        table.add_row(
            *(f"{value:,}" if isinstance(value, float) else value for value in row.values())
        )
    Console(width=110).print(table)
    if not names:
        path = FOLDER / "results" / f"{machine()}.json"
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)


if __name__ == "__main__":
    main(sys.argv[1:])
