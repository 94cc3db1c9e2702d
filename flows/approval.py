"""A person's answer, which a run waits for before a promotion."""

from __future__ import annotations

from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput

POLL_S = 5


class Answer(RunInput):
    """What a person says to a challenger that has passed the gate."""

    approve: bool
    by: str
    reason: str = ""


def ask_person(question: str, timeout_s: int) -> Answer | None:
    """Pause this run until a person answers; none, if nobody does in `timeout_s`.

    The workspace stays occupied meanwhile, so that what is approved is what was asked about.
    """
    form = Answer.with_initial_data(description=f"{question}\n\nApprove the promotion?")
    try:
        return pause_flow_run(wait_for_input=form, timeout=timeout_s, poll_interval=POLL_S)
    except FlowPauseTimeout:
        return None
