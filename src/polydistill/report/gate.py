"""What the gate found, as rows of text: the page and the terminal show the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Group

DASH = "\N{EN DASH}"
"""Shown where there is no number."""
PASSED, BROKEN, SKIPPED = "passed", "broken", "skipped"
SIGNS = {"least": "\N{GREATER-THAN OR EQUAL TO}", "most": "\N{LESS-THAN OR EQUAL TO}"}
COLUMNS = ("Rule", "Number", "Interval", "Bound", "Verdict")
NAMES = {
    "no-regression": "against the champion",
    "no-harm": "against the undistilled student",
}
"""Rules that are applied to each task, and what they compare it with."""


@dataclass(frozen=True)
class RuleRow:
    """One rule, its numbers as text.

    Attributes:
        name: The rule's; with the task, where it was applied to several.
        value: What it looked at.
        interval: The range that it probably lies in.
        bound: What it must reach, or must not exceed.
        verdict: `passed`, `broken` or `skipped`.
        because: The finding, in a sentence.
    """

    name: str
    value: str
    interval: str
    bound: str
    verdict: str
    because: str

    @property
    def cells(self) -> tuple[str, ...]:
        """One a column of `COLUMNS`."""
        return (self.name, self.value, self.interval, self.bound, self.verdict)


class TaskRow(NamedTuple):
    """One benchmark task: what each rule found that is applied to each task.

    Attributes:
        name: The task.
        cells: Rule: what it found.
        broken: Whether one of them refuses the student.
    """

    name: str
    cells: Mapping[str, RuleRow]
    broken: bool


@dataclass(frozen=True)
class GateTables:
    """A verdict's rules, those on single tasks apart.

    Attributes:
        rules: One a rule that is applied once, and one that sums up each of the others.
        per_task: The names of the others.
        tasks: One a task.
    """

    rules: tuple[RuleRow, ...]
    per_task: tuple[str, ...]
    tasks: tuple[TaskRow, ...]


def gate_tables(rules: Sequence[Mapping[str, Any]]) -> GateTables:
    """Sort a verdict's rules into two tables; `rules` are as `promotion.json` has them."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    by_task: dict[str, dict[str, RuleRow]] = {}
    for rule in rules:
        by_name.setdefault(rule["name"], []).append(rule)
        if rule.get("task") is not None:
            by_task.setdefault(rule["task"], {})[rule["name"]] = _row(rule)
    per_task = tuple(name for name in by_name if any(name in cells for cells in by_task.values()))
    return GateTables(
        rules=tuple(
            _summed(found) if name in per_task else _row(found[0])
            for name, found in by_name.items()
        ),
        per_task=per_task,
        tasks=tuple(
            TaskRow(task, cells, any(cell.verdict == BROKEN for cell in cells.values()))
            for task, cells in sorted(by_task.items())
        ),
    )


def render_verdict(verdict: Mapping[str, Any]) -> Group:
    """Return a verdict as tables for a terminal; the tasks' only where a rule looked at them."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    tables = gate_tables(verdict["rules"])
    dry = " (dry run: nothing was moved)" if verdict["dry_run"] else ""
    shown: list[Table | Text] = []
    if tables.rules:
        table = Table(title=f"The gate: version {verdict['challenger']}{dry}")
        for column in (*COLUMNS, "Finding"):
            right = column in {"Number", "Interval", "Bound"}
            wraps = column == "Finding"
            table.add_column(column, justify="right" if right else "left", no_wrap=not wraps)
        for row in tables.rules:
            style = "red" if row.verdict == BROKEN else "dim" if row.verdict == SKIPPED else ""
            table.add_row(*map(Text, (*row.cells, row.because)), style=style)
        shown.append(table)
    if tables.tasks:
        table = Table(title="Task by task: change with interval")
        table.add_column("Task", no_wrap=True)
        for name in tables.per_task:
            table.add_column(NAMES.get(name, name), justify="right", no_wrap=True)
        for task in tables.tasks:
            cells = [_told(task.cells.get(name)) for name in tables.per_task]
            table.add_row(*map(Text, (task.name, *cells)), style="red" if task.broken else "")
        shown.append(table)
    shown.append(Text(str(verdict["reason"]), style="bold"))
    return Group(*shown)


def _told(cell: RuleRow | None) -> str:
    if cell is None:
        return DASH
    mark = f" {cell.verdict}" if cell.verdict == BROKEN else ""
    return f"{cell.value} {cell.interval}{mark}"


def _row(rule: Mapping[str, Any]) -> RuleRow:
    return RuleRow(
        name=str(rule["name"]),
        value=_number(rule, rule["value"]),
        interval=DASH
        if rule.get("interval") is None
        else "[{:+.4f}, {:+.4f}]".format(*rule["interval"]),
        bound=DASH
        if rule["bound"] is None
        else f"{SIGNS[rule.get('bound_is', 'least')]} {_number(rule, rule['bound'])}",
        verdict=SKIPPED if rule.get("skipped") else PASSED if rule["passed"] else BROKEN,
        because=str(rule["because"]),
    )


def _summed(rules: Sequence[Mapping[str, Any]]) -> RuleRow:
    """Sum up a rule over its tasks, by the task that fell most."""
    broken = [rule for rule in rules if not rule["passed"]]
    worst = min(broken or rules, key=lambda rule: float(rule["value"]))
    tasks = ", ".join(str(rule["task"]) for rule in broken)
    count = f"{len(broken)} of {len(rules)} tasks: {tasks}" if broken else f"{len(rules)} tasks"
    because = f"{count}; the lowest is {worst['task']}: {worst['because']}"
    return _row({**worst, "because": because})


def _number(rule: Mapping[str, Any], value: object) -> str:
    if not isinstance(value, int | float):
        return DASH
    return f"{value:,.4g}" if rule.get("bound_is") == "most" else f"{value:+.4f}"
