"""MLflow's server goes down in the middle of a command: a clear error, and the next start finishes the work."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy import Engine, event

from polydistill.config.params import Params, load_params
from polydistill.errors import InfrastructureError, StageError
from polydistill.integrations.dvc.recovery import GOOD_LOCK
from polydistill.integrations.mlflow.promotion import history, promote, rollback
from polydistill.integrations.mlflow.publish import publish
from polydistill.integrations.mlflow.registry import MlflowRegistry
from polydistill.integrations.mlflow.store import connected, folder
from polydistill.project.layout import Layout
from polydistill.registry.ledger import replay

NAME = "student-text"
DOWN = "API request failed: Max retries exceeded with url: /api/2.0/mlflow (Connection refused)"
PUBLISH = ["create_run", "log_artifacts", "log_inputs", "set_registered_model_alias"]
PROMOTE = ["log_text", "set_registered_model_alias", "set_model_version_tag"]
HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def params(evaluated: Path) -> Params:
    return load_params(evaluated)


def goes_down(patch: pytest.MonkeyPatch, call: str) -> None:
    """Let the server be gone from this call of the client on."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise MlflowException(DOWN)

    patch.setattr(MlflowClient, call, refuse)


def require_agreement(root: Path) -> None:
    told = history(root, "text")
    with connected(root) as client:
        assert MlflowRegistry(client, NAME).aliases() == replay(told)


@pytest.fixture
def impatient() -> Iterator[None]:
    """Let MLflow wait for a lock .2 seconds rather than 20."""

    def shorten(
        _connection: object, _cursor: object, statement: str, parameters: object, *_rest: object
    ) -> tuple[str, object]:
        return statement.replace("busy_timeout = 20000", "busy_timeout = 200"), parameters

    event.listen(Engine, "before_cursor_execute", shorten, retval=True)
    yield
    event.remove(Engine, "before_cursor_execute", shorten)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Let another process hold the database's lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder(root) / "mlflow.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate("leave\n")


def files(root: Path) -> dict[str, bytes]:
    """Return the content of every file except locks and the copy of `dvc.lock`, which each command may update."""
    kept = root / GOOD_LOCK
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path != kept and path.suffix != ".lock"
    }


@pytest.mark.parametrize("call", PUBLISH)
def test_a_publish_that_loses_the_store_is_finished_by_the_next(
    evaluated: Path, params: Params, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with monkeypatch.context() as patch:
        goes_down(patch, call)
        with pytest.raises(StageError, match="tracking store .* failed: .*Connection refused"):
            publish(evaluated, params, "text")

    published = publish(evaluated, params, "text")

    assert published.version == 1
    with connected(evaluated) as client:
        assert len(client.search_model_versions(f"name = '{NAME}'")) == 1
        assert MlflowRegistry(client, NAME).aliases() == {"challenger": 1}
        experiment = client.get_experiment_by_name("text")
        assert experiment is not None
        assert len(client.search_runs([experiment.experiment_id])) == 1
    require_agreement(evaluated)


def require_that_the_next_promotion_finishes_it(evaluated: Path, params: Params) -> None:
    promote(evaluated, params, "text")

    assert Layout(evaluated, "text").verdict.exists()
    with connected(evaluated) as client:
        assert MlflowRegistry(client, NAME).aliases() == {"challenger": 1, "champion": 1}
    require_agreement(evaluated)


@pytest.mark.parametrize("call", PROMOTE)
def test_a_promotion_that_loses_the_store_writes_no_verdict_and_is_finished_by_the_next(
    evaluated: Path, params: Params, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    publish(evaluated, params, "text")
    with monkeypatch.context() as patch:
        goes_down(patch, call)
        with pytest.raises(StageError, match="Connection refused"):
            promote(evaluated, params, "text")
    assert not Layout(evaluated, "text").verdict.exists()

    require_that_the_next_promotion_finishes_it(evaluated, params)


def test_a_promotion_while_another_process_has_locked_the_database_writes_nothing(
    evaluated: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(evaluated, params, "text")
    monkeypatch.setattr("polydistill.integrations.mlflow.store.LOCK_TIMEOUT_S", 0.1)
    before = files(evaluated)

    with locked(evaluated), pytest.raises(InfrastructureError, match="locked by another process"):
        promote(evaluated, params, "text")

    assert files(evaluated) == before
    assert promote(evaluated, params, "text").outcome == "promoted"
    require_agreement(evaluated)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("call", PROMOTE)
def test_a_promotion_in_the_middle_of_which_the_database_is_locked_is_finished_by_the_next(
    evaluated: Path, params: Params, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    publish(evaluated, params, "text")
    real = getattr(MlflowClient, call)

    with ExitStack() as other, monkeypatch.context() as patch:

        def lock_first(*arguments: object, **options: object) -> object:
            patch.setattr(MlflowClient, call, real)
            other.enter_context(locked(evaluated))
            return real(*arguments, **options)

        patch.setattr(MlflowClient, call, lock_first)
        with pytest.raises(InfrastructureError, match="Wait for that process") as got:
            promote(evaluated, params, "text")
    assert len(str(got.value).splitlines()) < 5
    assert not Layout(evaluated, "text").verdict.exists()

    require_that_the_next_promotion_finishes_it(evaluated, params)


class Answering(BaseHTTPRequestHandler):
    """A server that answers every request with an error, nonsense, or too late."""

    def do_GET(self) -> None:
        kind = self.server.kind  # type: ignore[attr-defined]
        if kind == "slow":
            self.server.over.wait()  # type: ignore[attr-defined]
        if kind == "silent":
            return
        self.send_response(kind if isinstance(kind, int) else 200)
        self.end_headers()
        self.wfile.write(b"<html>Bad gateway</html>")

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def serving(kind: object) -> Iterator[str]:
    """Yield the address of a server; `closed` has none."""
    if kind == "closed":
        yield "127.0.0.1:9"
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.kind, server.over = kind, Event()  # type: ignore[attr-defined]
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.over.set()  # type: ignore[attr-defined]
        server.shutdown()


@pytest.mark.parametrize("kind", ["closed", "slow", "silent", "html", 404, 500, 502, 503])
def test_without_a_working_server_no_command_of_the_registry_writes_anything(
    evaluated: Path, params: Params, monkeypatch: pytest.MonkeyPatch, kind: object
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    before = files(evaluated)

    with serving(kind) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@{address}")
        for command in (
            lambda: publish(evaluated, params, "text"),
            lambda: promote(evaluated, params, "text"),
            lambda: rollback(evaluated, "text", reason=None),
            lambda: history(evaluated, "text"),
        ):
            with pytest.raises(StageError, match=re.escape(address)) as got:
                command()
            assert "secret" not in str(got.value)
            assert kind != "closed" or "Start that server, or unset" in str(got.value)

    assert files(evaluated) == before
