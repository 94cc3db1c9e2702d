from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from polydistill.errors import StageError
from polydistill.integrations.mlflow.store import check_store, connected


class Refusing(BaseHTTPRequestHandler):
    """A server that knows nobody, as MLflow's with `basic-auth` answers."""

    def do_POST(self) -> None:
        self.send_response(self.server.answer)  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(b"You are not authenticated.")

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of one that answers with the test's status."""
    with HTTPServer(("127.0.0.1", 0), Refusing) as running:
        running.answer = request.param  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("server", [401, 403], indirect=True)
def test_a_server_that_does_not_let_us_in_is_named_with_what_to_set_and_without_the_password(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:a-secret@{server}")

    with pytest.raises(StageError) as got:
        check_store(tmp_path)

    text = str(got.value)
    assert f"http://{server}" in text
    assert "MLFLOW_TRACKING_PASSWORD" in text
    assert "a-secret" not in text
    assert "Start that server" not in text


def test_a_database_whose_creation_was_killed_is_created_anew(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    for name in (".mlflow.db.unfinished", ".mlflow.db.unfinished-journal"):
        (tmp_path / "mlruns" / name).write_bytes(b"SQLite format 3\x00 and no more")

    with connected(tmp_path) as client:
        experiments = client.search_experiments()

    assert [one.name for one in experiments] == ["Default"]
    files = {path.name for path in (tmp_path / "mlruns").iterdir()}
    assert files == {"mlflow.db", "mlflow.db.creation.lock"}
