from __future__ import annotations

import pytest

from experiments.comparison import (
    TEACHER,
    MethodsReport,
    Progressed,
    compare_methods,
    goals,
)
from experiments.comparison_page import markdown
from experiments.methods import DEFAULT, UNDISTILLED, Method
from polydistill.evaluation.statistics.paired import PairedScores
from tests.made_predictions import TASKS, made_table

LEVELS = {
    DEFAULT: 0.50,
    "mse": 0.45,
    "cosine": 0.501,
    "only big": 0.48,
    UNDISTILLED: 0.30,
    f"{TEACHER}big": 0.54,
    f"{TEACHER}small": 0.40,
}
METHODS = [Method(name, f"about {name}", {}) for name in (DEFAULT, "mse", "cosine", "only big")]


def report(shifts: dict[tuple[str, str], float] | None = None, cells: int = 8) -> MethodsReport:
    tables = {seed: made_table(seed, LEVELS, shifts) for seed in (0, 1)}
    domains = compare_methods(PairedScores(tables, TASKS, resamples=1000), METHODS)
    names = {method.name: method.about for method in METHODS}
    return MethodsReport("text", (0, 1), Progressed(8, cells, ()), names, domains, {})


def test_gains_are_over_the_default_with_an_interval_and_a_spread_over_seeds() -> None:
    standing = report().domains["all"].standings["mse"]["mean"]

    assert standing.mean == pytest.approx(0.45)
    assert standing.gain is not None
    assert standing.gain.mean == pytest.approx(-0.05)
    assert standing.gain.low < -0.05 < standing.gain.high < 0
    assert standing.gain_by_seed == {"0": pytest.approx(-0.05), "1": pytest.approx(-0.05)}
    assert standing.gain_spread == pytest.approx(0, abs=1e-9)


def test_a_method_within_the_interval_of_the_best_is_said_to_be_so() -> None:
    best = report().domains["all"].best["mean"]

    assert best.method == "cosine"
    assert best.within == (DEFAULT,)
    assert set(best.lead) == {DEFAULT, "mse", "only big"}


def test_shares_of_the_best_teacher_and_the_best_single_teacher_are_told() -> None:
    domain = report().domains["all"]

    assert domain.share_of_best_teacher[DEFAULT]["clustering"] == pytest.approx(0.5 / 0.54)
    assert domain.over_teachers["big"]["mean"].mean == pytest.approx(-0.04)
    assert domain.over_teachers["small"]["mean"].low > 0
    assert domain.singles["mean"].method == "only big"
    assert domain.singles["mean"].gain.mean == pytest.approx(0.02)
    assert goals(domain)["regression"] == {"best": True, "all teachers": True, "90 %": True}


def test_the_page_says_where_the_default_does_not_win() -> None:
    page = markdown(report({("mse", "clusters"): 0.15}))

    assert "Out-of-domain tasks: the default does NOT have the best mean" in page
    assert "clustering (**mse** is +0.100 [" in page
    assert "surely" in page.split("clustering (**mse**")[1].split(")")[0]
    assert "not in clustering" in page
    assert "PARTIAL" not in page


def test_the_page_says_so_where_the_default_wins_everywhere() -> None:
    levels = dict(LEVELS) | {"cosine": 0.2}
    tables = {0: made_table(0, levels)}
    domains = compare_methods(PairedScores(tables, TASKS, resamples=500), METHODS)
    page = markdown(MethodsReport("text", (0,), Progressed(4, 4, ()), {}, domains, {}))

    assert page.count("the default has the best mean in every task kind") == 3
    assert "NOT" not in page


def test_missed_goals_are_named() -> None:
    page = markdown(report({(f"{TEACHER}big", "clusters"): 0.2, ("only big", "news"): 0.3}))

    assert "the goal of 90% is missed in clustering" in page
    assert "less in regression (big alone is +0.130 [" in page


def test_a_page_of_unfinished_cells_is_marked() -> None:
    assert "**PARTIAL: 8 of 9 cells are finished.**" in markdown(report(cells=9))
