from __future__ import annotations

from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import retrain as module
from flows.server import require_answer
from polydistill.errors import InfrastructureError
from polydistill.layout import Layout

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
