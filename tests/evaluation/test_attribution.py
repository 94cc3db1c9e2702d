from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polydistill.config.data import TaskParams
from polydistill.evaluation.attribution import Members, attribute, ensembles
from polydistill.stages.attribution import markdown

TASKS = {
    "topics": TaskParams(kind="classification", path="a", domain="in"),
    "tweets": TaskParams(kind="regression", path="b", domain="out"),
    "news": TaskParams(kind="regression", path="c", domain="out"),
}
WORTH = {"useful": 0.2, "topical": 0.0, "noise": -0.1}
SIZES = {"useful": 500_000_000, "topical": 0, "noise": None}


def run(members: Members, task: str) -> pd.Series:
    """Return scores of 400 examples: the members' worth, the example's difficulty and a little noise."""
    worth = sum(WORTH[name] for name in members)
    if task == "topics" and "topical" in members:
        worth += 0.3
    hard = np.random.default_rng(9).normal(size=400)
    chance = np.random.default_rng(len(members)).normal(scale=0.2, size=400)
    return pd.Series(
        worth + hard + chance - chance.mean(), index=[f"example {n}" for n in range(400)]
    )


def runs(teachers: list[str]) -> dict[Members, dict[str, pd.Series]]:
    return {
        members: {task: run(members, task) for task in TASKS} for members in ensembles(teachers)
    }


def test_a_teacher_adds_what_is_lost_without_it() -> None:
    report = attribute("text", runs(list(WORTH)), TASKS, groups={}, weight_bytes=SIZES, seed=0)

    useful, topical, noise = report.contributions
    assert [useful.teacher, topical.teacher, noise.teacher] == ["useful", "topical", "noise"]
    assert useful.by_task["news"].mean == pytest.approx(0.2)
    assert topical.by_task["topics"].mean == pytest.approx(0.3)
    assert topical.by_kind["regression"].mean == pytest.approx(0, abs=1e-9)
    assert topical.adds.mean == pytest.approx(0.15)  # kinds count once, however many tasks
    assert noise.adds.mean == pytest.approx(-0.1)
    assert noise.alone["mean"] == pytest.approx(
        -0.1 + np.random.default_rng(9).normal(size=400).mean()
    )
    assert report.tasks == {"classification": ["topics"], "regression": ["tweets", "news"]}


def test_only_a_teacher_whose_interval_is_not_above_zero_is_flagged() -> None:
    report = attribute("text", runs(list(WORTH)), TASKS, groups={}, weight_bytes=SIZES, seed=0)

    flagged = {one.teacher: one.adds_nothing for one in report.contributions}
    assert flagged == {"useful": False, "topical": False, "noise": True}
    assert all(one.adds.low < one.adds.mean < one.adds.high for one in report.contributions)


def test_a_contribution_a_gigabyte_is_only_known_of_weights_that_are() -> None:
    report = attribute("text", runs(list(WORTH)), TASKS, groups={}, weight_bytes=SIZES, seed=0)

    per_gb = {one.teacher: one.adds_per_gb for one in report.contributions}
    assert per_gb == {"useful": pytest.approx(0.4), "topical": None, "noise": None}


def test_equal_teachers_stand_in_the_order_of_their_names() -> None:
    equal = {
        members: {"topics": pd.Series([float(len(members))] * 4, index=list("abcd"))}
        for members in ensembles(["zoe", "ann", "max"])
    }

    report = attribute(
        "text", equal, TASKS, groups={}, weight_bytes=dict.fromkeys(["zoe", "ann", "max"]), seed=0
    )

    assert [one.teacher for one in report.contributions] == ["ann", "max", "zoe"]


def test_examples_of_one_group_are_drawn_together() -> None:
    scores = runs(list(WORTH))
    documents = pd.Series(
        [f"document {n // 20}" for n in range(400)], index=scores["useful",]["news"].index
    )
    for members, by_task in scores.items():
        if "useful" in members:  # documents differ, and their examples do not
            for task in by_task:
                by_task[task] += np.arange(400) // 20 % 2

    apart, together = (
        attribute("text", scores, TASKS, groups=groups, weight_bytes=SIZES, seed=0)
        for groups in ({}, dict.fromkeys(TASKS, documents))
    )

    first, second = apart.contributions[0].adds, together.contributions[0].adds
    assert first.mean == second.mean
    assert second.high - second.low > 2 * (first.high - first.low)


def test_with_two_teachers_each_is_what_is_left_without_the_other() -> None:
    report = attribute(
        "text", runs(["useful", "noise"]), TASKS, groups={}, weight_bytes=SIZES, seed=0
    )

    useful, noise = report.contributions
    assert useful.adds.mean == pytest.approx(report.ensemble["mean"] - noise.alone["mean"])


def test_the_page_ranks_the_teachers_and_shows_every_task() -> None:
    page = markdown(
        attribute("text", runs(list(WORTH)), TASKS, groups={}, weight_bytes=SIZES, seed=0)
    )

    lines = page.splitlines()
    ranked = [line for line in lines if line.split(" | ")[0].removeprefix("| ") in WORTH]
    assert [line.split(" ")[1] for line in ranked] == ["useful", "topical", "noise"]
    assert [line.endswith("| adds nothing |") for line in ranked] == [False, False, True]
    assert "| 0.500 | +0.400 |" in ranked[0]
    assert "| ? | ? |" in ranked[2]
    assert all(sum(line.startswith(f"| {task} |") for line in lines) == 1 for task in TASKS)
