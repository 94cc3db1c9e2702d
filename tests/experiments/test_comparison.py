from __future__ import annotations

import pytest

from experiments.comparison import TEACHER, Completion, MethodComparison, compare_domains, goals
from experiments.comparison_page import markdown
from experiments.methods import DEFAULT, UNDISTILLED, Method
from experiments.paired import PairedScores
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


def report(shifts: dict[tuple[str, str], float] | None = None, trials: int = 8) -> MethodComparison:
    tables = {seed: made_table(seed, LEVELS, shifts) for seed in (0, 1)}
    domains = compare_domains(PairedScores(tables, TASKS, resamples=1000), METHODS)
    names = {method.name: method.about for method in METHODS}
    return MethodComparison("text", (0, 1), Completion(8, trials, ()), names, domains, {})


def test_gains_are_over_the_default_with_an_interval_and_a_spread_over_seeds() -> None:
    score = report().domains["all"].scores["mse"]["mean"]

    assert score.mean == pytest.approx(0.45)
    assert score.gain is not None
    assert score.gain.mean == pytest.approx(-0.05)
    assert score.gain.low < -0.05 < score.gain.high < 0
    assert score.gain_by_seed == {"0": pytest.approx(-0.05), "1": pytest.approx(-0.05)}
    assert score.gain_spread == pytest.approx(0, abs=1e-9)


def test_methods_indistinguishable_from_the_best_are_listed() -> None:
    best = report().domains["all"].best["mean"]

    assert best.method == "cosine"
    assert best.indistinguishable == (DEFAULT,)
    assert set(best.lead) == {DEFAULT, "mse", "only big"}


def test_the_default_is_compared_with_the_best_teacher_and_the_best_single_teacher_student() -> (
    None
):
    domain = report().domains["all"]

    assert domain.share_of_best_teacher[DEFAULT]["clustering"] == pytest.approx(0.5 / 0.54)
    assert domain.over_teachers["big"]["mean"].mean == pytest.approx(-0.04)
    assert domain.over_teachers["small"]["mean"].low > 0
    assert domain.singles["mean"].method == "only big"
    assert domain.singles["mean"].gain.mean == pytest.approx(0.02)
    assert goals(domain)["regression"] == {"best": True, "all teachers": True, "90 %": True}


def test_the_page_reports_where_the_default_is_not_the_best() -> None:
    page = markdown(report({("mse", "clusters"): 0.15}))

    assert "Out-of-domain tasks: the default does NOT have the highest score" in page
    assert "clustering (**mse** minus the default: +0.100 [" in page
    assert "the interval excludes zero" in page.split("clustering (**mse**")[1].split(")")[0]
    assert "every task kind except clustering" in page
    assert "PARTIAL" not in page


def test_the_page_reports_that_the_default_is_the_best_everywhere() -> None:
    levels = dict(LEVELS) | {"cosine": 0.2}
    tables = {0: made_table(0, levels)}
    domains = compare_domains(PairedScores(tables, TASKS, resamples=500), METHODS)
    page = markdown(MethodComparison("text", (0,), Completion(4, 4, ()), {}, domains, {}))

    assert page.count("the default has the highest score in every task kind") == 3
    assert "NOT" not in page


def test_the_page_reports_missed_goals() -> None:
    page = markdown(report({(f"{TEACHER}big", "clusters"): 0.2, ("only big", "news"): 0.3}))

    assert "the goal of 90% is missed in clustering" in page
    assert "lower than the best single teacher in regression (big alone minus all: +0.130 [" in page


def test_the_page_of_an_unfinished_comparison_is_marked_as_partial() -> None:
    assert "**PARTIAL: 8 of 9 trials are finished.**" in markdown(report(trials=9))
