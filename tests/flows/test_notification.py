from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from flows.notification import Notice, Payload, deliver, event_of_failure, make_payload
from polydistill.config.operations import NotifyParams
from polydistill.config.params import parse_params
from polydistill.errors import ParamsError
from tests.our_params import text_params

URL = "https://hooks.example/services/T0/B0/secret-token"
NOTICE = Notice(
    event="refused",
    modality="text",
    model="student-text",
    reason="a gain of -0.0100",
    at="2026-01-31T03:10:00+00:00",
    version=5,
    champion=4,
)
CHAT = NotifyParams(on=("refused", "failed"), url_env="CHAT_URL")
TEAM = NotifyParams(on=("promoted",), block="slack-webhook/team")
PAGER = NotifyParams(on=("refused",), block="custom-webhook/pager")


class RecordingSender:
    """Records the payloads that it is called with, or raises an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sent: list[tuple[str, Payload]] = []
        self._error = error

    def __call__(self, where: str, payload: Payload) -> None:
        if self._error is not None:
            raise self._error
        self.sent.append((where, payload))


def test_each_receiver_gets_the_events_it_subscribes_to() -> None:
    to_url, to_block = RecordingSender(), RecordingSender()

    failures = deliver(
        [CHAT, TEAM, PAGER], NOTICE, {"CHAT_URL": URL}, to_url=to_url, to_block=to_block
    )

    assert failures == []
    assert [where for where, _ in to_url.sent] == [URL]
    assert [where for where, _ in to_block.sent] == ["custom-webhook/pager"]


def test_the_payload_has_the_documented_fields() -> None:
    assert make_payload(NOTICE) == {
        "schema": 1,
        "event": "refused",
        "modality": "text",
        "model": "student-text",
        "version": 5,
        "champion": 4,
        "reason": "a gain of -0.0100",
        "at": "2026-01-31T03:10:00+00:00",
        "flow_run": None,
        "text": "student-text 5: refused. a gain of -0.0100",
    }


def test_a_failing_receiver_does_not_stop_the_others_and_its_secret_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    broken, whole = RecordingSender(OSError(f"cannot reach {URL}")), RecordingSender()

    failures = deliver([CHAT, PAGER], NOTICE, {"CHAT_URL": URL}, to_url=broken, to_block=whole)

    assert failures == ["Notice 'refused' did not reach $CHAT_URL: OSError."]
    assert failures[0] in caplog.text
    assert "secret-token" not in caplog.text
    assert len(whole.sent) == 1


def test_an_unset_variable_is_named_in_the_failure() -> None:
    failures = deliver([CHAT], NOTICE, {}, to_url=RecordingSender(), to_block=RecordingSender())

    assert failures == ["Notice 'refused' did not reach $CHAT_URL: the variable is not set."]


def test_secrets_are_removed_from_the_reason() -> None:
    reason = f"postgresql://ada:pw@db/x failed; posting to {URL} failed"
    to_block = RecordingSender()

    deliver(
        [CHAT, PAGER],
        replace(NOTICE, reason=reason),
        {"CHAT_URL": URL},
        to_url=RecordingSender(),
        to_block=to_block,
    )

    text = str(to_block.sent[0][1])
    assert "secret-token" not in text
    assert "ada:pw" not in text


def test_a_diverged_training_is_recognised_by_the_name_of_its_error() -> None:
    assert event_of_failure("StageError: publish failed:\nDivergedError: it diverged") == "diverged"
    assert event_of_failure("StageError: embed failed with exit code 4") == "failed"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"on": ["refused"]}, "exactly one of `block` and `url_env`"),
        ({"on": ["refused"], "url_env": URL}, "url_env"),
        ({"on": ["refused"], "block": "team"}, "block"),
        ({"on": ["exploded"], "url_env": "CHAT_URL"}, "on"),
    ],
)
def test_an_invalid_receiver_is_refused(row: dict[str, object], message: str) -> None:

    tree = text_params()

    with pytest.raises(ParamsError, match=message):
        parse_params(tree | {"notify": [row]})


def test_a_significance_level_below_the_resolution_of_the_permutations_is_refused() -> None:

    tree = text_params()
    tree["text"]["retrain"]["drift"] |= {"permutations": 99, "level": 0.001}

    with pytest.raises(ParamsError, match=r"at least 0\.01"):
        parse_params(tree)
