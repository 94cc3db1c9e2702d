from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from polydistill.config.operations import RetrainParams, RetrainPolicy
from polydistill.project.scheduling import Facts, Lateness, Registered, plan, reason_to_skip

NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
LOCK, DATA = "lock of the files", "md5 of the data"
CHAMPION = Registered(3, LOCK, DATA)


def executed(catch_up: str, n_late: int = 50) -> list[int]:
    """Return which of `n_late` late hourly runs execute."""
    params = RetrainParams.model_validate({"catch_up": catch_up, "grace_s": 5400})
    runs = [
        Lateness(NOW - timedelta(hours=age), NOW, newer_due=age) for age in reversed(range(n_late))
    ]
    return [place for place, run in enumerate(runs) if reason_to_skip(params, run) is None]


def test_each_catch_up_policy_executes_the_right_ones_of_fifty_late_runs() -> None:
    assert executed("latest") == [49]
    assert executed("skip") == [48, 49]
    assert executed("all") == list(range(50))


def test_latest_executes_a_single_run_however_late() -> None:
    run = Lateness(NOW - timedelta(days=3), NOW, newer_due=0)

    assert reason_to_skip(RetrainParams(catch_up="latest"), run) is None


def test_a_clock_behind_that_of_the_server_skips_no_run() -> None:
    early = Lateness(NOW + timedelta(hours=1), NOW, newer_due=0)

    assert early.seconds == 0
    assert reason_to_skip(RetrainParams(catch_up="skip", grace_s=0), early) is None


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
