from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flows.lateness import Lateness, reason_to_skip
from polydistill.config.operations import RetrainParams

NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)


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
