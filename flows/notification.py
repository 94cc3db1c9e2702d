"""Notices: who is told of what, in which words; sending them is handed in."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from polydistill.config.operations import NoticeEvent, NotifyParams

SCHEMA = 1
MAX_CHARACTERS = 1_000
LOGGER = logging.getLogger(__name__)
CREDENTIALS = re.compile(r"//[^@/\s]+@")
Payload = dict[str, str | int | None]
Send = Callable[[str, Payload], None]
"""Sends a payload to a URL, or through a block's document."""


@dataclass(frozen=True)
class Notice:
    """Something that somebody wants to know.

    Attributes:
        event: What happened.
        modality: A block of `params.yaml`.
        model: The registered model.
        reason: Why, in a sentence or a few lines for a person.
        at: When, ISO 8601 with a time zone.
        version: The challenger's; none, where a run ended before there was one.
        champion: The version that it was held against; none, where there is none.
        flow_run: Prefect's id of the run.
    """

    event: NoticeEvent
    modality: str
    model: str
    reason: str
    at: str
    version: int | None = None
    champion: int | None = None
    flow_run: str | None = None


def make_payload(notice: Notice, secrets: Sequence[str] = ()) -> Payload:
    """Return what a webhook gets: the notice, its schema's number, and `text`, which chats show.

    Args:
        notice: What happened.
        secrets: What must not be in it, wherever its words come from.
    """
    reason = CREDENTIALS.sub("//", notice.reason)
    for secret in secrets:
        reason = reason.replace(secret, "…")
    reason = reason[:MAX_CHARACTERS]
    which = notice.model if notice.version is None else f"{notice.model} {notice.version}"
    text = f"{which}: {notice.event}. {reason}"
    return {**asdict(notice), "reason": reason, "schema": SCHEMA, "text": text}


def event_of_failure(message: str) -> NoticeEvent:
    """Say whether a run failed because training diverged, as our commands' last lines say it."""
    return "diverged" if "DivergedError:" in message else "failed"


def deliver(
    rows: Sequence[NotifyParams],
    notice: Notice,
    environment: Mapping[str, str],
    *,
    to_url: Send,
    to_block: Send,
) -> list[str]:
    """Send a notice to every receiver that wants its event; a failure is logged and ends nothing.

    Nothing that a sender raises is repeated: libraries put the URL, which is a secret, into their messages.

    Args:
        rows: The receivers.
        notice: What happened.
        environment: Holds the URLs.
        to_url: Sends to a URL.
        to_block: Sends through a block's document.

    Returns:
        A line for each receiver that did not get it.
    """
    wanted = [row for row in rows if notice.event in row.on]
    named = (row.url_env for row in rows if row.url_env is not None)
    secrets = [environment[name] for name in named if environment.get(name)]
    payload = make_payload(notice, secrets)
    failures = []
    for row in wanted:
        receiver = row.block or f"${row.url_env}"
        try:
            if row.block is not None:
                to_block(row.block, payload)
            else:
                to_url(environment[str(row.url_env)], payload)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run has done its work
            cause = "is not set" if isinstance(error, KeyError) else type(error).__name__
            failures.append(f"Notice '{notice.event}' did not reach {receiver}: {cause}.")
            LOGGER.warning(failures[-1])
    return failures
