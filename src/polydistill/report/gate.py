"""The findings of the gate, as rows of text for the page and the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Group

DASH = "\N{EN DASH}"
"""Shown instead of a missing number."""
PASSED, BROKEN, SKIPPED = "passed", "broken", "skipped"
SIGNS = {"least": "\N{GREATER-THAN OR EQUAL TO}", "most": "\N{LESS-THAN OR EQUAL TO}"}
STYLES = {PASSED: "", BROKEN: "red", SKIPPED: "dim"}
NAMES = {"no-regression": "against the champion", "no-harm": "against the undistilled student"}
"""Rules that are applied to each task, with the model that they compare the student with."""
Rule = Mapping[str, Any]
"""A rule of the gate with its result, as stored in `promotion.json`."""


class RuleRow(NamedTuple):
    """One rule, with its numbers as text.

    Attributes:
        name: The name of the rule.
        value: The number that the rule examined.
        interval: The confidence interval of the number.
        bound: The smallest or largest allowed number.
        verdict: `passed`, `broken` or `skipped`.
        because: The finding, as a sentence.
    """

    name: str
    value: str
    interval: str
    bound: str
    verdict: str
    because: str


class GateTables(NamedTuple):
    """The rules of a verdict, in two tables.

    Attributes:
        rules: One row per rule; a rule that is applied to each task is summarised in one row.
        per_task: The names of the rules that are applied to each task.
        tasks: The findings of these rules, by task and rule.
    """

    rules: list[RuleRow]
    per_task: list[str]
    tasks: dict[str, dict[str, RuleRow]]


def gate_tables(rules: Sequence[Rule]) -> GateTables:
    """Return the rules of a verdict as two tables."""
    by_name: dict[str, list[Rule]] = {}
    tasks: dict[str, dict[str, RuleRow]] = {}
    for rule in rules:
        by_name.setdefault(rule["name"], []).append(rule)
        if rule.get("task") is not None:
            tasks.setdefault(rule["task"], {})[rule["name"]] = _row(rule)
    per_task = [name for name in by_name if any(name in cells for cells in tasks.values())]
    return GateTables(
        [_summary(f) if name in per_task else _row(f[0]) for name, f in by_name.items()],
        per_task,
        dict(sorted(tasks.items())),
    )


def render_verdict(verdict: Mapping[str, Any]) -> Group:
    """Return a verdict as tables for a terminal, and its reason."""
    from rich.console import Group
    from rich.table import Column, Table
    from rich.text import Text

    tables = gate_tables(verdict["rules"])
    dry = " (dry run: nothing was moved)" if verdict["dry_run"] else ""
    rules = Table(
        Column("Rule", no_wrap=True),
        *(Column(name, justify="right", no_wrap=True) for name in ("Number", "Interval", "Bound")),
        Column("Verdict", no_wrap=True),
        "Finding",
        title=f"The gate: version {verdict.get('challenger')}{dry}",
    )
    for row in tables.rules:
        rules.add_row(*map(Text, row), style=STYLES[row.verdict])
    tasks = Table(Column("Task", no_wrap=True), title="Task by task: change with interval")
    for name in tables.per_task:
        tasks.add_column(NAMES.get(name, name), justify="right", no_wrap=True)
    for task, cells in tables.tasks.items():
        shown = [_change(cells.get(name)) for name in tables.per_task]
        broken = any(cell.verdict == BROKEN for cell in cells.values())
        tasks.add_row(*map(Text, (task, *shown)), style=STYLES[BROKEN if broken else PASSED])
    reason = Text(str(verdict["reason"]), style="bold")
    return Group(*(table for table in (rules, tasks) if table.row_count), reason)


def _change(cell: RuleRow | None) -> str:
    if cell is None:
        return DASH
    mark = f" {BROKEN}" if cell.verdict == BROKEN else ""
    return f"{cell.value} {cell.interval}{mark}"


def _row(rule: Rule) -> RuleRow:
    interval, bound = rule.get("interval"), rule["bound"]
    return RuleRow(
        rule["name"],
        _number(rule, rule["value"]),
        "[{:+.4f}, {:+.4f}]".format(*interval) if interval else DASH,
        DASH if bound is None else f"{SIGNS[rule.get('bound_is', 'least')]} {_number(rule, bound)}",
        SKIPPED if rule.get("skipped") else PASSED if rule["passed"] else BROKEN,
        rule["because"],
    )


def _summary(rules: Sequence[Rule]) -> RuleRow:
    """Summarise a rule over its tasks by the task with the lowest number."""
    broken = [rule for rule in rules if not rule["passed"]]
    worst = min(broken or rules, key=lambda rule: rule["value"] or 0.0)
    tasks = ", ".join(rule["task"] for rule in broken)
    count = f"{len(broken)} of {len(rules)} tasks: {tasks}" if broken else f"{len(rules)} tasks"
    because = f"{count}; the lowest is {worst['task']}: {worst['because']}"
    return _row({**worst, "because": because})


def _number(rule: Rule, value: object) -> str:
    if not isinstance(value, int | float):
        return DASH
    return f"{value:,.4g}" if rule.get("bound_is") == "most" else f"{value:+.4f}"
