from __future__ import annotations

from collections.abc import Sequence

import pytest

from polydistill.config.operations import RetrainPolicy
from polydistill.integrations.planning import Facts, Registered, plan

LOCK, DATA = "lock of the files", "md5 of the data"
CHAMPION = Registered(3, LOCK, DATA)


def never() -> Sequence[str]:
    raise AssertionError("nobody needs to know")


def facts(**changes: object) -> Facts:
    known: dict[str, object] = {
        "stale": (), "lock_sha256": LOCK, "data_md5": DATA, "champion": CHAMPION, "challenger": CHAMPION,
    }  # fmt: skip
    return Facts(**(known | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["always", "on-new-data", "on-drift"])
def test_without_stale_stages_and_with_a_champion_of_these_files_nothing_runs(
    policy: RetrainPolicy,
) -> None:
    found = plan(policy, facts(), never)

    assert (found.action, found.reason) == (
        "unchanged",
        "Nothing is stale, and version 3 is champion.",
    )


def test_a_refused_student_is_not_judged_again() -> None:
    champion, again = Registered(2, "another", "old"), Registered(3, LOCK, DATA, refused=True)

    assert plan("always", facts(champion=champion, challenger=again), never).action == "unchanged"


def test_an_unjudged_student_causes_a_run_without_stale_stages() -> None:
    champion = Registered(2, "another", "old")

    assert plan("always", facts(champion=champion), never).action == "run"


def test_a_refused_student_of_other_files_does_not_prevent_a_run() -> None:
    champion, other = (
        Registered(2, "another", DATA),
        Registered(3, "yet another", DATA, refused=True),
    )

    assert plan("always", facts(champion=champion, challenger=other), never).action == "run"


def test_stale_stages_cause_a_run_and_are_named() -> None:
    found = plan("always", facts(stale=("data.dvc", "embed@text-use-m3")), never)

    assert (found.action, found.reason) == ("run", "Stale: data.dvc, embed@text-use-m3.")


@pytest.mark.parametrize("policy", ["on-new-data", "on-drift"])
def test_stale_code_waits_for_new_data_if_the_policy_says_so(policy: RetrainPolicy) -> None:
    found = plan(policy, facts(stale=("distill@text",)), never)

    assert found.action == "waiting"
    assert "champion 3" in found.reason


@pytest.mark.parametrize("data", ["new", None])
def test_new_or_uncommitted_data_cause_a_run(data: str | None) -> None:
    found = plan("on-new-data", facts(stale=("validate@text",), data_md5=data), never)

    assert found.action == "run"


@pytest.mark.parametrize(
    ("drifted", "action", "message"),
    [
        (("embeddings", "is_empty"), "run", "Drift from champion 3: embeddings, is_empty."),
        ((), "waiting", "New data without drift from champion 3."),
        (None, "run", "Champion 3 has no reference to compare drift with."),
    ],
)
def test_the_on_drift_policy_compares_new_data(
    drifted: Sequence[str] | None, action: str, message: str
) -> None:
    stale = facts(stale=("validate@text",), data_md5="new")

    found = plan("on-drift", stale, lambda: drifted)

    assert (found.action, found.reason) == (action, message)


@pytest.mark.parametrize("policy", ["always", "on-new-data", "on-drift"])
def test_without_a_champion_there_is_a_run(policy: RetrainPolicy) -> None:
    assert plan(policy, facts(champion=None, challenger=None), never).action == "run"
