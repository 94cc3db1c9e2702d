"""Notices about the outcome of a run, sent by a hook of the flow to webhooks and Prefect blocks."""

from __future__ import annotations

import inspect
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from prefect.blocks.core import Block
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.utilities.asyncutils import run_coro_as_sync

from flows.notification import Notice, Payload, deliver, event_of_failure
from flows.webhooks import post
from polydistill.config.operations import NoticeEvent
from polydistill.config.params import load_params
from polydistill.project.layout import Layout

ROOT = Path()
EVENTS: dict[str, NoticeEvent] = {"Promoted": "promoted", "Refused": "refused"}
"""The events of completed runs, by the name of the final state. Other states send no notice."""
LOGGING_URLS = ("httpx", "httpcore", "slack_sdk", "apprise")
"""Libraries used by Prefect blocks that log the URLs they call."""


def send_notice(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 - Prefect's names
    """Send a notice of the outcome of a run to the receivers in `params.yaml`. Failing to send never fails the run."""
    message = state.message or ""
    event = EVENTS.get(state.name or "") if state.is_completed() else event_of_failure(message)
    if event is None:
        return
    modality = str(flow_run.parameters["modality"])
    notice = Notice(
        event=event,
        modality=modality,
        model=f"student-{modality}",
        reason=message,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        flow_run=str(flow_run.id),
        **(_versions(modality) if state.is_completed() else {}),
    )
    deliver(load_params(ROOT).notify, notice, os.environ, to_url=post, to_block=send_through_block)


def send_through_block(document: str, payload: Payload) -> None:
    """Send a payload's text through a Prefect notification block, such as `slack-webhook/team`."""
    with _quiet():
        block = cast("Any", Block.load(document))
        subject = f"polydistill: {payload['event']}"
        sent = block.notify(str(payload["text"]), subject)
        if inspect.isawaitable(sent):
            run_coro_as_sync(cast("Any", sent))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence libraries that log the URLs they call, which are secrets."""
    loggers = [logging.getLogger(name) for name in LOGGING_URLS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _versions(modality: str) -> dict[str, int | None]:
    """Return the challenger and champion of the last verdict; empty without a verdict."""
    path = Layout(ROOT, modality).verdict
    if not path.exists():
        return {}
    verdict = json.loads(path.read_text(encoding="utf-8"))
    return {"version": verdict["challenger"], "champion": verdict["champion"]}
