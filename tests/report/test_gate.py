from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from polydistill.report.gate import DASH, gate_tables, render_verdict
from tests.report.example_run import example_rule, example_verdict

Json = dict[str, Any]


def printed(verdict: Json) -> str:
    console = Console(width=140, file=io.StringIO())
    with console.capture() as captured:
        console.print(render_verdict(verdict))
    return captured.get()


def test_rules_on_tasks_are_summed_up_by_the_task_that_fell_most() -> None:
    tables = gate_tables(example_verdict()["rules"])

    rows = {row.name: row for row in tables.rules}
    assert list(rows) == ["finite", "gain", "no-regression", "no-harm", "latency-ratio"]
    assert rows["no-regression"].value == "-0.0123"
    assert rows["no-regression"].because == "2 tasks; the lowest is simlex: lower."
    assert tables.per_task == ["no-regression", "no-harm"]
    assert list(tables.tasks) == ["brown-genre", "simlex"]


def test_a_broken_task_breaks_its_rule_and_is_named() -> None:
    rules = example_verdict()["rules"]
    rules.append(example_rule("no-harm", -0.3, -0.02, "it falls.", task="lee") | {"passed": False})

    tables = gate_tables(rules)

    harm = next(row for row in tables.rules if row.name == "no-harm")
    assert harm.verdict == "broken"
    assert harm.because == "1 of 2 tasks: lee; the lowest is lee: it falls."
    assert tables.tasks["lee"]["no-harm"].verdict == "broken"


def test_numbers_stand_with_their_bounds_whichever_way_they_point() -> None:
    rows = {row.name: row[:-1] for row in gate_tables(example_verdict()["rules"]).rules}

    assert rows["gain"] == ("gain", "+0.0122", "[+0.0012, +0.0231]", "≥ +0.0000", "passed")
    assert rows["latency-ratio"] == ("latency-ratio", "1.02", DASH, "≤ 1.25", "passed")
    assert rows["finite"] == ("finite", DASH, DASH, DASH, "passed")


def test_the_terminal_shows_every_rule_every_task_and_the_reason() -> None:
    text = printed(example_verdict() | {"dry_run": True})

    for shown in ("latency-ratio", "brown-genre", "against the champion", "dry run", "is promoted"):
        assert shown in text
    assert max(map(len, text.splitlines())) <= 140


def test_a_verdict_without_rules_is_its_reason() -> None:
    text = printed({"rules": [], "reason": "Version 3 is champion already.", "dry_run": False})

    assert text.strip() == "Version 3 is champion already."


def test_a_verdict_of_an_older_version_is_still_shown() -> None:
    old = {"name": "gain", "passed": True, "value": 0.1, "bound": 0.0, "because": "better."}

    assert gate_tables([old]).rules[0][:-1] == ("gain", "+0.1000", DASH, "≥ +0.0000", "passed")
