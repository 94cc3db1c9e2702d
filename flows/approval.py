"""A person's answer, which a run waits for before a promotion."""

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
    """What a person says to a challenger that has passed the gate."""

    approve: bool
    by: str
    reason: str = ""


def ask_person(question: str, timeout_s: int) -> Answer | None:
    """Pause this run until a person answers; none, if nobody does in `timeout_s`.

    The workspace stays locked meanwhile, so that what is approved is what was asked about.
    """
    form = Answer.with_initial_data(description=f"{question}\n\nApprove the promotion?")
    try:
        return pause_flow_run(wait_for_input=form, timeout=timeout_s, poll_interval=POLL_S)
    except FlowPauseTimeout:
        _go_on()
        return None


def _go_on() -> None:
    """Let this run go on: Prefect would fail whatever a run does after a pause that has timed out."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(str(flow_run.id)), Running(), force=True)
