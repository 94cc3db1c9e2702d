"""Writes docs/reliability.md from the results of the trials."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.faults.machine import KINDS
from tests.faults.trials import Result

HEAD = """\
# Reliability

`make test-faults` writes this page. It runs the smallest realistic project (two teachers, 400 rows, three tasks, CPU) and injects faults: at
operations on files, into files, and into the environment. A C library counts the writes, renames, unlinks, links and
database pages of all processes of a step; the points are spread evenly over them. After each fault the step runs again.
The trial holds if its outputs have the same bytes as without the fault, the registry and the ledger agree, no version has
lost its files, and no temporary file is left.

"""
MEANING = {
    "survived": "the rerun gives the same result",
    "healed": "the same, and the rerun reports what it repaired",
    "typed": "an error that names the file and a remedy",
    "handled": "the same result as without the damage",
    "input": "valid content, which is used",
    "traceback": "a library's traceback (a defect)",
    "untyped": "an exit without an error of ours (a defect)",
    "silent": "another result without an error (a defect)",
    "broken": "a rerun does not give the same result (a defect)",
}


def write(results: Sequence[Result], path: Path) -> None:
    """Write the page."""
    by_group: dict[str, list[Result]] = defaultdict(list)
    for one in results:
        by_group[one.group].append(one)
    n_failed = sum(not one.holds for one in results)
    text = HEAD + f"Trials: {len(results):,}; failed: {n_failed}.\n\n"
    ends = Counter(one.end for one in results)
    text += _table(
        ["end", "meaning", "trials"], [[end, MEANING[end], str(n)] for end, n in ends.most_common()]
    )
    if kills := by_group["kills"]:
        text += "\n## SIGKILL between two operations\n\n" + _by(kills, lambda one: one.step, "step")
    if errors := by_group["errors"]:
        text += "\n## Errors of the system, from an operation on\n\n"
        text += "Full disk (ENOSPC), one failed operation (EIO), no more file handles (EMFILE), a file system that becomes read-only (EROFS), SIGTERM, "
        text += "and a clock that jumps back a day or ahead 400 days.\n\n"
        order = [kind for kind in KINDS if any(one.what.startswith(f"{kind} ") for one in errors)]
        text += _by(
            sorted(errors, key=lambda one: order.index(one.what.split()[0])),
            lambda one: one.what.split()[0],
            "fault",
        )
        text += "\n" + _by(errors, lambda one: one.step, "step")
    if damage := by_group["damage"]:
        text += "\n## Damaged files\n\n" + _by(damage, lambda one: one.what, "damage")
        text += "\n" + _by(damage, lambda one: one.step, "file (command, state)")
    if world := by_group["world"]:
        text += "\n## Unusual environments\n\n" + _by(world, lambda one: one.what, "environment")
    if n_failed:
        text += "\n## Failed\n\n"
        text += "".join(f"- {one.end}: {one.key}\n" for one in results if not one.holds)
    path.write_text(text, encoding="utf-8")


def _by(results: Iterable[Result], key: Callable[[Result], str], title: str) -> str:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for one in results:
        counts[key(one)][one.end] += 1
    columns = [end for end in MEANING if any(end in row for row in counts.values())]
    rows = [
        [f"`{name}`", str(sum(row.values())), *[str(row[end] or "") for end in columns]]
        for name, row in counts.items()
    ]
    return _table([title, "trials", *columns], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
