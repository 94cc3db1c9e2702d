from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import retrain as module
from flows.server import lost_server_explained, require_reachable_api
from polydistill.errors import InfrastructureError
from polydistill.project.layout import Layout

UNREACHABLE = "http://me:secret@127.0.0.1:9/api"


def test_a_reachable_server_and_no_server_pass() -> None:
    require_reachable_api()  # the server of these tests

    with temporary_settings({PREFECT_API_URL: None}):
        require_reachable_api()


def test_a_flow_whose_server_is_unreachable_starts_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_arguments: None)

    with temporary_settings({PREFECT_API_URL: UNREACHABLE}), pytest.raises(SystemExit) as got:
        module.main("text")

    output = capsys.readouterr().err
    assert got.value.code == InfrastructureError.exit_code
    assert "Prefect's API at http://127.0.0.1:9/api does not answer (ConnectError)" in output
    assert "unset PREFECT_API_URL" in output
    assert "secret" not in output
    assert not Layout(project, "text").run_lock.exists()
    assert not (project / "data").exists()


def answer(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", UNREACHABLE)
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
def test_a_server_lost_during_a_flow_is_one_short_error(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: httpx.HTTPError,
    name: str,
) -> None:
    def lose(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("signal.signal", lambda *_arguments: None)
    monkeypatch.setattr(module, "require_reachable_api", lambda: None)
    monkeypatch.setattr(module, "retrain", lose)

    with temporary_settings({PREFECT_API_URL: UNREACHABLE}), pytest.raises(SystemExit) as got:
        module.main("text")

    output = capsys.readouterr().err
    assert got.value.code == InfrastructureError.exit_code
    assert f"http://127.0.0.1:9/api was lost while the flow ran ({name})" in output
    assert "the run resumes from there" in output
    assert "secret" not in output


def test_other_http_errors_are_raised_unchanged() -> None:
    with pytest.raises(httpx.HTTPStatusError), lost_server_explained():
        raise answer(404)
