"""The delay of the current run according to Prefect, and the decision whether to skip a late run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext

from polydistill.config.operations import RetrainParams

GIVEN_UP = [StateType.CANCELLED, StateType.CANCELLING, StateType.CRASHED, StateType.FAILED]


@dataclass(frozen=True)
class Lateness:
    """The due time and the start time of a run.

    Attributes:
        due: The time in the schedule, with a time zone.
        now: The start time, with a time zone.
        newer_due: The number of later runs of the same schedule that are due by now and not cancelled.
    """

    due: datetime
    now: datetime
    newer_due: int

    @property
    def seconds(self) -> float:
        """The delay in seconds, at least 0 even if the clocks disagree."""
        return max((self.now - self.due).total_seconds(), 0.0)


def current_lateness() -> Lateness | None:
    """Return the lateness of the current run; None if the run was not started by a schedule."""
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if run is None or not run.auto_scheduled or run.deployment_id is None:
        return None
    due, now = run.expected_start_time, datetime.now(UTC)
    if due is None:
        return None
    with get_client(sync_client=True) as client:
        newer = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[run.deployment_id])),
            flow_run_filter=FlowRunFilter(
                expected_start_time=FlowRunFilterExpectedStartTime(after_=due, before_=now),
                state=FlowRunFilterState(type=FlowRunFilterStateType(not_any_=GIVEN_UP)),
            ),
        )
    newer_due = [
        one
        for one in newer
        if one.auto_scheduled and one.expected_start_time and one.expected_start_time > due
    ]
    return Lateness(due, now, len(newer_due))


def reason_to_skip(params: RetrainParams, lateness: Lateness) -> str | None:
    """Return the reason why a late run is skipped; None if it is not skipped.

    With `catch_up: all`, every missed run is started later. With `latest`, only the newest missed run is started. With
    `skip`, runs whose delay exceeds `grace_s` are skipped.

    Examples:
        >>> from datetime import UTC, timedelta
        >>> due = datetime(2026, 1, 31, 3, tzinfo=UTC)
        >>> late = Lateness(due, due + timedelta(hours=2), newer_due=1)
        >>> reason_to_skip(RetrainParams(catch_up="latest"), late)
        'Due at 2026-01-31T03:00:00+00:00, 7200 s late; catch_up is latest, and 1 newer run is due.'
        >>> reason_to_skip(RetrainParams(catch_up="all"), late) is None
        True
    """
    delay = f"Due at {lateness.due.isoformat()}, {lateness.seconds:.0f} s late"
    if params.catch_up == "latest" and lateness.newer_due:
        runs = "run is" if lateness.newer_due == 1 else "runs are"
        return f"{delay}; catch_up is latest, and {lateness.newer_due} newer {runs} due."
    if params.catch_up == "skip" and lateness.seconds > params.grace_s:
        return f"{delay}; catch_up is skip, and grace_s is {params.grace_s:g}."
    return None
