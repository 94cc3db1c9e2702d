from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow.tracking._tracking_service import utils

from polydistill.config.params import load_params
from polydistill.errors import StageError
from polydistill.integrations.mlflow.bundle import load_model
from polydistill.integrations.mlflow.promotion import promote
from polydistill.integrations.mlflow.publish import publish
from polydistill.integrations.mlflow.store import check_store, connected, lost_versions
from tests.published_project import retrain


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", ["copy", "a cöpy with blanks", "deep/er/copy"])
def test_a_copied_project_owns_its_registry(
    evaluated: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = load_params(evaluated)
    publish(evaluated, params, "text")
    promote(evaluated, params, "text")
    before, copy = files_of(evaluated), evaluated.parent / place
    shutil.copytree(evaluated, copy)
    monkeypatch.setattr(utils, "_artifact_repos_cache", OrderedDict())  # as in a new process
    retrain(copy, seed=1, score=0.6)

    assert publish(copy, params, "text").version == 2
    assert promote(copy, params, "text").promoted
    assert files_of(evaluated) == before

    shutil.rmtree(evaluated)
    for number in (1, 2):
        assert load_model(copy, f"models:/student-text/{number}")(["a cat"]).shape == (1, 8)
    assert lost_versions(copy) == []
    shutil.rmtree(copy / "mlruns" / "artifacts")
    assert lost_versions(copy) == ["student-text 2", "student-text 1"]


def test_projects_that_link_to_one_store_do_not_take_it_from_each_other(
    evaluated: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(evaluated, load_params(evaluated), "text")
    other = tmp_path / "other"
    other.mkdir()
    (other / "mlruns").symlink_to(evaluated / "mlruns")

    for root in (other, evaluated, other):
        assert load_model(root, "models:/student-text/1")(["a cat"]).shape == (1, 8)

    assert "copied or moved" not in caplog.text


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


def test_an_error_of_the_database_is_explained_without_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def lose_a_table() -> None:
        with connected(tmp_path) as client:
            client.search_registered_models()  # MLflow checks the tables at the first call
            with closing(sqlite3.connect(tmp_path / "mlruns" / "mlflow.db")) as database:
                database.execute("drop table registered_models")
            client.search_registered_models()

    with pytest.raises(StageError, match="no such table"):
        lose_a_table()

    assert caplog.text == ""


def test_a_connection_inside_another_leaves_no_address_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    with connected(tmp_path), connected(tmp_path):
        assert "MLFLOW_TRACKING_URI" in os.environ

    assert "MLFLOW_TRACKING_URI" not in os.environ
