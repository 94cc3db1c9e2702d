"""How late the current run is, according to Prefect. `project.scheduling` decides whether a late run is skipped."""

from __future__ import annotations

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

from polydistill.project.scheduling import Lateness

GIVEN_UP = [StateType.CANCELLED, StateType.CANCELLING, StateType.CRASHED, StateType.FAILED]


def current_lateness() -> Lateness | None:
    """Return how late the current run is; None if no schedule started it."""
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
