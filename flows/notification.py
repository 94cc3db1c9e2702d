"""Content and receivers of notices. Callers pass the functions that send a notice."""

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
"""Sends a payload. The first argument is a URL or the name of a Prefect block."""


@dataclass(frozen=True)
class Notice:
    """A notice about the outcome of a run.

    Attributes:
        event: The outcome.
        modality: A block of `params.yaml`.
        model: The name of the registered model.
        reason: The reason, in a sentence or a few lines.
        at: The time, in ISO 8601 with a time zone.
        version: The version of the challenger; None if the run ended before it was published.
        champion: The version of the champion at that time; None without a champion.
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
    """Return the JSON object for a webhook: the notice, the schema version, and `text`, which chat services display.

    Args:
        notice: The notice.
        secrets: Strings to remove from the reason.
    """
    reason = CREDENTIALS.sub("//", notice.reason)
    for secret in secrets:
        reason = reason.replace(secret, "…")
    reason = reason[:MAX_CHARACTERS]
    which = notice.model if notice.version is None else f"{notice.model} {notice.version}"
    text = f"{which}: {notice.event}. {reason}"
    return {**asdict(notice), "reason": reason, "schema": SCHEMA, "text": text}


def event_of_failure(message: str) -> NoticeEvent:
    """Return `diverged` if the message of a failed run names a `DivergedError`, otherwise `failed`."""
    return "diverged" if "DivergedError:" in message else "failed"


def deliver(
    rows: Sequence[NotifyParams],
    notice: Notice,
    environment: Mapping[str, str],
    *,
    to_url: Send,
    to_block: Send,
) -> list[str]:
    """Send a notice to every receiver of its event. A failure is logged; the other receivers still get the notice.

    Only the type of an error is logged: messages of libraries include the URL, which is a secret.

    Args:
        rows: The receivers.
        notice: The notice.
        environment: The environment variables that hold the URLs.
        to_url: Sends a payload to a URL.
        to_block: Sends a payload through a Prefect block.

    Returns:
        One line per receiver that the notice did not reach.
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
        except Exception as error:  # noqa: BLE001 - a notice must not fail a finished run
            is_unset = isinstance(error, KeyError)
            cause = "the variable is not set" if is_unset else type(error).__name__
            failures.append(f"Notice '{notice.event}' did not reach {receiver}: {cause}.")
            LOGGER.warning(failures[-1])
    return failures
