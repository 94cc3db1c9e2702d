"""Manual approval: a run pauses until a person approves or refuses the promotion."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.states import Running

POLL_S = 5


class Answer(RunInput):
    """A person's decision on a challenger that has passed the gate."""

    approve: bool
    by: str
    reason: str = ""


def ask_person(question: str, timeout_s: int) -> Answer | None:
    """Pause this run until a person answers; return None if nobody answers within `timeout_s` seconds.

    The workspace stays locked during the pause, so the challenger cannot change before it is approved.
    """
    form = Answer.with_initial_data(description=f"{question}\n\nApprove the promotion?")
    try:
        return pause_flow_run(wait_for_input=form, timeout=timeout_s, poll_interval=POLL_S)
    except FlowPauseTimeout:
        _continue_run()
        return None


def _continue_run() -> None:
    """Set this run back to running: after a pause that timed out, Prefect would fail its next task."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(str(flow_run.id)), Running(), force=True)
