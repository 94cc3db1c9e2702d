from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from polydistill.config.operations import GateParams
from polydistill.evaluation.contamination import Contamination
from polydistill.evaluation.latency import Latency
from polydistill.registry.evidence import Evidence, Finding
from polydistill.registry.gate import allows, judge
from tests.registry.examples import student

POLICY = GateParams(
    min_gain=0.0,
    max_regression_per_task=None,
    min_gain_over_undistilled=None,
    max_harm_per_task=None,
    max_latency_ratio=1.25,
    max_latency_ms=2.0,
    max_size_mb=64,
    max_memory_mb=512,
    max_contamination=0.0,
    data_validated=True,
    reproducible="required",
    licence_policy="commercial",
    smoke_test=True,
)
GOOD = Evidence(
    contamination=Contamination({"pairs": 0.0, "words": 0.0}, 1_000, 0),
    validation=Finding(holds=True, because="all hold."),
    licences={"minilm-l6": "Apache-2.0", "glove-50d": "PDDL-1.0 AND Apache-2.0"},
    reproducible=True,
    latency=(Latency(1, 0.1, 1.02), Latency(64, 1.5, 0.97)),
    size_mb=32.0,
    memory_mb=78.0,
    smoke_test=Finding(holds=True, because="it answers."),
)
Change = Callable[[Evidence], Evidence]


def broken(evidence: Evidence | None, policy: GateParams = POLICY) -> list[str]:
    verdict = judge(policy, student(2), student(1), evidence)
    assert verdict.refused == any(not rule.passed for rule in verdict.rules)
    return [rule.name for rule in verdict.rules if not rule.passed]


def test_good_evidence_passes_every_rule() -> None:
    verdict = judge(POLICY, student(2), student(1), GOOD)

    assert verdict.promoted
    assert [rule.name for rule in verdict.rules] == [
        *("finite", "gain", "latency-ratio", "latency", "size", "memory"),
        *("not-contaminated", "data-validated", "reproducible", "licence", "smoke-test"),
    ]


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("latency-ratio", {"latency": (Latency(1, 0.1, 1.0), Latency(64, 1.5, 1.3))}),
        ("latency", {"latency": (Latency(1, 2.5, 1.0), Latency(64, 9.0, 1.0))}),
        ("size", {"size_mb": 64.1}),
        ("memory", {"memory_mb": 600.0}),
        ("memory", {"memory_mb": None}),
        ("not-contaminated", {"contamination": Contamination({"words": 0.01}, 9, 1)}),
        ("not-contaminated", {"contamination": Contamination({}, 9, 0)}),
        ("data-validated", {"validation": Finding(holds=False, because="one broke.")}),
        ("reproducible", {"reproducible": False}),
        ("reproducible", {"reproducible": None}),
        ("licence", {"licences": {"mine": "CC-BY-NC-4.0"}}),
        ("licence", {"licences": {"mine": None}}),
        ("smoke-test", {"smoke_test": Finding(holds=False, because="it does not answer.")}),
    ],
)
def test_each_rule_can_fail_alone(rule: str, changes: dict[str, object]) -> None:
    assert broken(replace(GOOD, **changes)) == [rule]  # type: ignore[arg-type]


def test_what_was_not_measured_does_not_pass() -> None:
    assert broken(None) == [
        *("latency-ratio", "latency", "size", "memory"),
        *("not-contaminated", "data-validated", "reproducible", "licence", "smoke-test"),
    ]


def test_the_first_champion_needs_to_be_as_fast_as_nobody() -> None:
    alone = replace(GOOD, latency=(Latency(1, 0.1, None), Latency(64, 1.5, None)))

    verdict = judge(POLICY, student(1), None, alone)

    skipped = {rule.name for rule in verdict.rules if rule.skipped}
    assert verdict.promoted
    assert skipped == {"gain", "latency-ratio"}


@pytest.mark.parametrize(
    ("policy", "stamp", "expected"),
    [
        ("required", None, ["reproducible"]),
        ("unless-refuted", None, []),
        ("unless-refuted", False, ["reproducible"]),
        ("any", False, []),
    ],
)
def test_a_policy_says_how_much_a_missing_stamp_weighs(
    policy: str,
    stamp: bool | None,  # noqa: FBT001
    expected: list[str],
) -> None:
    asked = POLICY.model_copy(update={"reproducible": policy})

    assert broken(replace(GOOD, reproducible=stamp), asked) == expected


def test_any_licence_passes_where_nobody_asks() -> None:
    asked = POLICY.model_copy(update={"licence_policy": "any"})

    assert broken(replace(GOOD, licences={"mine": "CC-BY-NC-4.0"}), asked) == []


def test_an_expression_allows_what_all_its_parts_allow() -> None:
    known = ("Apache-2.0", "MIT")

    good = ("mit", "MIT OR GPL-3.0-only", "MIT AND CC-BY-NC-4.0 OR Apache-2.0")
    bad = ("(MIT)", "", "MIT AND GPL-3.0-only", "MIT WITH an exception")

    assert all(allows(one, known) for one in good)
    assert not any(allows(one, known) for one in bad)
