from __future__ import annotations

import dataclasses

import pytest

from polydistill.config.operations import GateParams
from polydistill.registry.evidence import Candidate, RuleOutcome
from polydistill.registry.gate import Verdict, judge
from tests.our_params import ONLY_GAIN
from tests.registry.examples import TASKS, student

POLICY = GateParams(
    **ONLY_GAIN
    | {
        "max_regression_per_task": 0.02,
        "min_gain_over_undistilled": 0.0,
        "max_harm_per_task": 0.02,
        "resamples": 1_000,
    }
)


def rule(verdict: Verdict, name: str, task: str | None = None) -> RuleOutcome:
    return next(one for one in verdict.rules if (one.name, one.task) == (name, task))


def broken(verdict: Verdict) -> list[tuple[str, str | None]]:
    return [(one.name, one.task) for one in verdict.rules if not one.passed]


def test_a_regression_on_one_task_is_refused_though_the_mean_improves() -> None:
    better_but = {"intents": 0.2, "topics": 0.2, "pairs": -0.05, "words": 0.2}

    verdict = judge(POLICY, student(2, better_but), student(1))

    assert rule(verdict, "gain").value == pytest.approx((0.2 + 0.2 + 0.075) / 3, abs=1e-6)
    assert broken(verdict) == [("no-regression", "pairs")]
    assert verdict.refused
    assert "pairs: it falls by more than 0.02, and not by chance" in verdict.reason


def test_an_equal_student_passes() -> None:
    verdict = judge(POLICY, student(2), student(1))

    assert verdict.promoted
    assert {one.name for one in verdict.rules if one.task == "words"} == {
        "no-regression",
        "no-harm",
    }
    assert rule(verdict, "gain").interval == (0.0, 0.0)


def test_noise_alone_refuses_an_equal_student_for_no_task() -> None:
    policy = POLICY.model_copy(update={"min_gain": -1.0})
    champion = student(1, seed=0)

    outcomes = [judge(policy, student(2, seed=seed), champion) for seed in range(1, 41)]

    beyond = [
        one.value
        for verdict in outcomes
        for one in verdict.rules
        if one.name == "no-regression" and one.value is not None and one.value < -0.02
    ]
    assert beyond  # a margin on the estimate alone would have refused them
    assert sum(verdict.refused for verdict in outcomes) <= 4  # 5 % of 40, and twice its spread


def test_a_real_regression_is_found_through_the_same_noise() -> None:
    policy = POLICY.model_copy(update={"min_gain": -1.0})
    champion = student(1, seed=0)

    refused = [
        judge(policy, student(2, {"topics": -0.08}, seed=seed), champion).refused
        for seed in range(1, 21)
    ]

    assert sum(refused) >= 19


def test_a_real_but_small_fall_is_within_the_margin() -> None:
    verdict = judge(
        POLICY, student(2, {"pairs": -0.015, "intents": 0.1, "topics": 0.1}), student(1)
    )

    assert verdict.promoted
    assert "by no more than 0.02" in rule(verdict, "no-regression", "pairs").because


def test_a_student_that_distillation_has_harmed_is_refused_even_as_the_first() -> None:
    verdict = judge(POLICY, student(1, {"topics": -0.15, "intents": 0.3}), None)

    assert broken(verdict) == [("no-harm", "topics")]
    assert rule(verdict, "gain").skipped
    assert rule(verdict, "no-regression").because == "there is no champion yet."


def test_a_student_worse_than_the_undistilled_in_the_mean_is_refused() -> None:
    verdict = judge(POLICY, student(1, undistilled=0.01), None)

    assert broken(verdict) == [("gain-over-undistilled", None)]


def test_tasks_of_other_data_are_left_out_and_named() -> None:
    champion = student(1, digests={"words": "last week's"})

    verdict = judge(POLICY, student(2, {"words": -0.05, "topics": 0.01}), champion)

    assert verdict.promoted
    compared = {one.task for one in verdict.rules if one.name == "no-regression"}
    assert compared == set(TASKS) - {"words"}
    assert "Not compared, because only one has it or its data differ: words." in verdict.reason


def test_students_without_a_task_of_the_same_data_cannot_be_compared() -> None:
    champion = student(1, digests=dict.fromkeys(TASKS, "other"))

    verdict = judge(POLICY, student(2), champion)

    assert broken(verdict) == [("gain", None)]
    assert "no benchmark task of the same data" in verdict.reason


def test_scores_without_examples_do_not_pass() -> None:
    bare = Candidate(1, "sha", {"sts": {"pairs": 0.5}}, diverged=False, examples={})

    verdict = judge(POLICY, dataclasses.replace(bare, version=2), bare)

    assert broken(verdict) == [("gain", None), ("gain-over-undistilled", None), ("no-harm", None)]


def test_the_same_students_give_the_same_verdict() -> None:
    assert judge(POLICY, student(2, seed=3), student(1)) == judge(
        POLICY, student(2, seed=3), student(1)
    )
