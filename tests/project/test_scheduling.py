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
    """Return which of so many hourly runs, all late, execute."""
    params = RetrainParams.model_validate({"catch_up": catch_up, "grace_s": 5400})
    runs = [
        Lateness(NOW - timedelta(hours=age), NOW, newer_due=age) for age in reversed(range(n_late))
    ]
    return [place for place, run in enumerate(runs) if reason_to_skip(params, run) is None]


def test_of_fifty_late_runs_latest_executes_the_newest_skip_those_in_time_and_all_each() -> None:
    assert executed("latest") == [49]
    assert executed("skip") == [48, 49]
    assert executed("all") == list(range(50))


def test_latest_makes_up_for_a_single_run_however_late() -> None:
    run = Lateness(NOW - timedelta(days=3), NOW, newer_due=0)

    assert reason_to_skip(RetrainParams(catch_up="latest"), run) is None


def test_a_clock_that_goes_behind_the_server_s_skips_nothing() -> None:
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
def test_nothing_stale_and_a_champion_of_these_files_is_unchanged(policy: RetrainPolicy) -> None:
    found = plan(policy, facts(), never)

    assert (found.action, found.reason) == (
        "unchanged",
        "Nothing is stale, and version 3 is champion.",
    )


def test_a_refused_student_is_not_judged_every_night() -> None:
    champion, again = Registered(2, "another", "old"), Registered(3, LOCK, DATA, refused=True)

    assert plan("always", facts(champion=champion, challenger=again), never).action == "unchanged"


def test_a_student_that_nobody_has_judged_is_work_though_nothing_is_stale() -> None:
    champion = Registered(2, "another", "old")

    assert plan("always", facts(champion=champion), never).action == "run"


def test_a_refused_student_of_other_files_settles_nothing() -> None:
    champion, other = (
        Registered(2, "another", DATA),
        Registered(3, "yet another", DATA, refused=True),
    )

    assert plan("always", facts(champion=champion, challenger=other), never).action == "run"


def test_what_is_stale_is_work_and_is_named() -> None:
    found = plan("always", facts(stale=("data.dvc", "embed@text-use-m3")), never)

    assert (found.action, found.reason) == ("run", "Stale: data.dvc, embed@text-use-m3.")


@pytest.mark.parametrize("policy", ["on-new-data", "on-drift"])
def test_stale_code_waits_for_new_data_where_the_policy_says_so(policy: RetrainPolicy) -> None:
    found = plan(policy, facts(stale=("distill@text",)), never)

    assert found.action == "waiting"
    assert "champion 3" in found.reason


@pytest.mark.parametrize("data", ["new", None])
def test_new_data_or_data_that_nobody_has_saved_are_work(data: str | None) -> None:
    found = plan("on-new-data", facts(stale=("validate@text",), data_md5=data), never)

    assert found.action == "run"


@pytest.mark.parametrize(
    ("drifted", "action", "said"),
    [
        (("embeddings", "is_empty"), "run", "Drift from champion 3: embeddings, is_empty."),
        ((), "waiting", "New data without drift from champion 3."),
        (None, "run", "Champion 3 has no reference to compare drift with."),
    ],
)
def test_on_drift_looks_at_new_data(drifted: Sequence[str] | None, action: str, said: str) -> None:
    stale = facts(stale=("validate@text",), data_md5="new")

    found = plan("on-drift", stale, lambda: drifted)

    assert (found.action, found.reason) == (action, said)


@pytest.mark.parametrize("policy", ["always", "on-new-data", "on-drift"])
def test_without_a_champion_there_is_work(policy: RetrainPolicy) -> None:
    assert plan(policy, facts(champion=None, challenger=None), never).action == "run"
