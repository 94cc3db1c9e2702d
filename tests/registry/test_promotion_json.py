from __future__ import annotations

import json

import jsonschema  # type: ignore[import-untyped]
import pytest

from polydistill.errors import DataError
from polydistill.registry.gate import judge, promotion_json, read_promotion, schema
from tests.registry.examples import student
from tests.registry.test_rules import GOOD, POLICY


def written(seed: int = 1) -> str:
    policy = POLICY.model_copy(update={"max_regression_per_task": 0.02, "resamples": 200})
    verdict = judge(policy, student(2, seed=seed), student(1), GOOD)
    return promotion_json(verdict, policy)


def test_the_same_inputs_write_the_same_bytes_sorted() -> None:
    text = written()

    assert text == written()
    assert text != written(seed=2)
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"


def test_it_fits_its_schema_and_reads_back() -> None:
    text = written()

    jsonschema.validate(json.loads(text), schema())
    promotion = read_promotion(text)

    assert promotion.policy is not None
    assert promotion.policy.max_size_mb == 64
    assert {rule.task for rule in promotion.rules} >= {"pairs", "words", None}


def test_every_rule_has_its_number_bound_interval_and_reason() -> None:
    rules = json.loads(written())["rules"]

    gain = next(rule for rule in rules if rule["name"] == "gain")
    assert gain["interval"][0] <= gain["value"] <= gain["interval"][1]
    assert gain["bound"] == 0.0
    assert all(rule["because"].endswith(".") for rule in rules)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 9}, "format\n  Input should be 1"),
        ({"rules": "none"}, "does not fit its schema"),
    ],
)
def test_another_format_or_a_damaged_file_is_refused(
    change: dict[str, object], message: str
) -> None:
    text = json.dumps({**json.loads(written()), **change})

    with pytest.raises(DataError, match=message):
        read_promotion(text)


def test_a_verdict_of_the_release_that_called_it_canary_still_reads() -> None:
    tree = json.loads(written())
    tree["policy"]["canary"] = tree["policy"].pop("smoke_test")
    for rule in tree["rules"]:
        rule["name"] = rule["name"].replace("smoke-test", "canary")

    promotion = read_promotion(json.dumps(tree))

    assert promotion.policy == read_promotion(written()).policy
    assert "canary" in {rule.name for rule in promotion.rules}
