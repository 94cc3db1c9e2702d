from __future__ import annotations

import math
import re

import pytest

from polydistill.config.operations import GateParams
from polydistill.registry.evidence import Candidate
from polydistill.registry.gate import judge
from tests.our_params import ONLY_GAIN
from tests.registry.examples import scored

POLICY = GateParams(**ONLY_GAIN)


def candidate(
    version: int, *scores: float, diverged: bool = False, more: float | None = None
) -> Candidate:
    first, second = scores
    tree = {"classification": {"a": first}, "sts": {"b": second}}
    if more is not None:
        tree["classification"]["only-here"] = more
    return scored(version, tree, diverged=diverged)


def test_the_first_challenger_is_promoted_without_a_champion() -> None:
    verdict = judge(POLICY, candidate(1, 0.5, 0.5), None)

    assert (verdict.outcome, verdict.promoted, verdict.champion) == ("promoted", True, None)
    assert [rule.name for rule in verdict.rules] == ["finite", "gain"]


@pytest.mark.parametrize(
    ("scores", "gain", "outcome"),
    [
        ((0.7, 0.5), 0.1, "promoted"),
        ((0.5, 0.5), 0.0, "promoted"),
        ((0.3, 0.7), 0.0, "promoted"),  # 0.1 + 0.2 style sums must not decide
        ((0.5, 0.4999), -0.00005, "refused"),
    ],
)
def test_a_mean_that_is_not_lower_passes_and_a_lower_one_does_not(
    scores: tuple[float, float], gain: float, outcome: str
) -> None:
    verdict = judge(POLICY, candidate(2, *scores), candidate(1, 0.5, 0.5))

    rule = verdict.rules[-1]
    assert verdict.outcome == outcome
    assert rule.value == pytest.approx(gain, abs=1e-9)
    assert rule.bound == 0.0
    assert f"{rule.value:+.4f}" in rule.because


def test_a_least_gain_must_be_reached() -> None:
    champion, policy = candidate(1, 0.5, 0.5), GateParams(**ONLY_GAIN | {"min_gain": 0.01})

    assert judge(policy, candidate(2, 0.51, 0.51), champion).promoted
    assert judge(policy, candidate(2, 0.51, 0.509), champion).refused


def test_only_tasks_that_both_have_are_compared() -> None:
    verdict = judge(POLICY, candidate(2, 0.5, 0.5), candidate(1, 0.5, 0.5, more=0.99))

    assert verdict.rules[-1].value == 0.0
    assert verdict.promoted


def test_students_without_a_common_task_cannot_be_compared() -> None:
    stranger = scored(1, {"regression": {"c": 0.1}})

    verdict = judge(POLICY, candidate(2, 0.9, 0.9), stranger)

    assert verdict.refused
    assert "no benchmark task" in verdict.reason


def test_a_diverged_student_is_refused_even_as_the_first() -> None:
    verdict = judge(POLICY, candidate(1, 0.9, 0.9, diverged=True), None)

    assert verdict.refused
    assert "diverged" in verdict.reason


def test_a_score_that_is_not_finite_is_refused() -> None:
    assert judge(POLICY, candidate(1, math.nan, 0.9), None).refused


def test_every_failed_rule_is_named() -> None:
    verdict = judge(POLICY, candidate(2, 0.1, 0.1, diverged=True), candidate(1, 0.5, 0.5))

    assert [rule.passed for rule in verdict.rules] == [False, False]
    assert "diverged" in verdict.reason
    assert "0.1000" in verdict.reason
    assert not re.search(r"\. [a-z]", verdict.reason)  # every sentence begins with a capital
    assert re.match(r"Version \d+ is refused: [a-z]", verdict.reason)


def test_a_champion_is_not_held_against_itself() -> None:
    verdict = judge(POLICY, candidate(3, 0.5, 0.5), candidate(3, 0.5, 0.5))

    assert (verdict.outcome, verdict.rules, verdict.refused) == ("unchanged", (), False)
