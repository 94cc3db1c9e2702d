from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import retrain as module
from flows.server import present, require_answer
from polydistill.errors import InfrastructureError
from polydistill.project.layout import Layout

NOBODY = "http://me:secret@127.0.0.1:9/api"


def test_a_server_that_answers_is_none_of_our_business() -> None:
    require_answer()  # the one of these tests

    with temporary_settings({PREFECT_API_URL: None}):
        require_answer()


def test_a_flow_without_its_server_starts_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_arguments: None)

    with temporary_settings({PREFECT_API_URL: NOBODY}), pytest.raises(SystemExit) as got:
        module.main("text")

    said = capsys.readouterr().err
    assert got.value.code == InfrastructureError.exit_code
    assert "Prefect's API at http://127.0.0.1:9/api does not answer (ConnectError)" in said
    assert "unset PREFECT_API_URL" in said
    assert "secret" not in said
    assert not Layout(project, "text").run_lock.exists()
    assert not (project / "data").exists()


def answer(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", NOBODY)
    return httpx.HTTPStatusError(
        "no", request=request, response=httpx.Response(status, request=request)
    )


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), "ConnectError"),
        (answer(503), "HTTPStatusError"),
    ],
)
def test_a_server_that_is_lost_in_mid_flow_is_named_and_what_to_do(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: httpx.HTTPError,
    name: str,
) -> None:
    def lose(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("signal.signal", lambda *_arguments: None)
    monkeypatch.setattr(module, "require_answer", lambda: None)
    monkeypatch.setattr(module, "retrain", lose)

    with temporary_settings({PREFECT_API_URL: NOBODY}), pytest.raises(SystemExit) as got:
        module.main("text")

    said = capsys.readouterr().err
    assert got.value.code == InfrastructureError.exit_code
    assert f"http://127.0.0.1:9/api was lost while the flow ran ({name})" in said
    assert "goes on from there" in said
    assert "secret" not in said


def test_an_answer_that_is_no_loss_stays_what_it_is() -> None:
    with pytest.raises(httpx.HTTPStatusError), present():
        raise answer(404)
