from __future__ import annotations

import json
import logging
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from prefect.blocks.abstract import NotificationBlock
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Failed
from pydantic import SecretStr

from flows import notices
from flows.notices import send_notice
from flows.notification import Payload
from flows.retrain import retrain
from polydistill.project.layout import Layout

URL = "https://hooks.example/secret-token"
SENT: list[str] = []


class LeakingBlock(NotificationBlock):
    """A block that logs its URL, and raises an error with it if `broken`."""

    _block_type_slug = "leaking-webhook"
    url: SecretStr
    broken: bool = False

    async def notify(self, body: str, subject: str | None = None) -> None:
        logging.getLogger("httpx").info("HTTP Request: POST %s", self.url.get_secret_value())
        if self.broken:
            raise OSError(self.url.get_secret_value())
        SENT.append(f"{subject}: {body}")


@pytest.fixture
def posted(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Payload]]:
    """The payloads posted to webhooks, from a project with three receivers."""
    sent: list[tuple[str, Payload]] = []
    tree = yaml.safe_load((project / "params.yaml").read_text())
    tree["notify"] = [
        {"on": ["promoted", "refused"], "url_env": "CHAT_URL"},
        {"on": ["promoted"], "block": "leaking-webhook/whole"},
        {"on": ["diverged"], "block": "leaking-webhook/broken"},
    ]
    (project / "params.yaml").write_text(yaml.safe_dump(tree))
    verdict = Layout(project, "text").verdict
    verdict.parent.mkdir(parents=True)
    verdict.write_text(json.dumps({"challenger": 5, "champion": 4}))
    monkeypatch.setenv("CHAT_URL", URL)
    monkeypatch.setattr(notices, "post", lambda url, payload: sent.append((url, payload)))
    SENT.clear()
    return sent


def run() -> FlowRun:
    return FlowRun(flow_id=uuid4(), parameters={"modality": "text"})


def test_a_promotion_is_sent_to_webhook_and_block(posted: list[tuple[str, Payload]]) -> None:
    LeakingBlock(url=SecretStr(URL)).save("whole", overwrite=True)

    send_notice(retrain, run(), Completed(name="Promoted", message="Better."))

    assert [(url, payload["version"]) for url, payload in posted] == [(URL, 5)]
    assert SENT == ["polydistill: promoted: student-text 5: promoted. Better."]


def test_an_unchanged_run_sends_no_notice(posted: list[tuple[str, Payload]]) -> None:
    send_notice(retrain, run(), Completed(name="Unchanged", message="Nothing."))

    assert (posted, SENT) == ([], [])


def test_a_failing_block_does_not_fail_the_run_and_its_secret_is_not_logged(
    posted: list[tuple[str, Payload]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    LeakingBlock(url=SecretStr(URL), broken=True).save("broken", overwrite=True)

    send_notice(retrain, run(), Failed(message="publish failed:\nDivergedError: no"))

    assert "did not reach leaking-webhook/broken: OSError" in caplog.text
    assert "secret-token" not in caplog.text
    assert posted == []
