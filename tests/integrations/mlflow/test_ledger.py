from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient

from polydistill.config.params import load_params
from polydistill.errors import InfrastructureError, LedgerError, MissingDataError
from polydistill.integrations.mlflow.ledger import MlflowLedger, _onto_disk, ledger_file, recorded
from polydistill.integrations.mlflow.promotion import dump, history, promote, rollback
from polydistill.integrations.mlflow.publish import publish
from polydistill.integrations.mlflow.registry import MlflowRegistry
from polydistill.integrations.mlflow.store import connected, folder
from polydistill.project.layout import Layout
from polydistill.registry.ledger import Entry, replay
from polydistill.registry.promotion import challenge
from tests.published_project import retrain

NAME = "student-text"


@pytest.fixture
def root(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with three versions of a model without files, and no alias."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("POLYDISTILL_ACTOR", "ada")
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_database, tmp_path / "mlruns" / "mlflow.db")
    with connected(tmp_path) as client:
        client.create_registered_model(NAME)
        for _ in range(3):
            client.create_model_version(NAME, "file:///nowhere", tags={"student_sha256": "ab"})
    return tmp_path


def move(root: Path, version: int) -> None:
    with connected(root) as client, recorded(root, client, NAME) as registry:
        challenge(registry, version)


def entries(root: Path) -> tuple[Entry, ...]:
    return history(root, "text")


def actions(root: Path) -> list[str]:
    return [entry.action for entry in entries(root)]


def aliases(client: MlflowClient) -> dict[str, int]:
    return MlflowRegistry(client, NAME).aliases()


def artifacts(root: Path) -> list[Path]:
    return sorted((root / "mlruns" / "artifacts").rglob("entries/*.json"))


def written(root: Path) -> dict[str, bytes]:
    """Return every file below the project, and what the database says."""
    files = {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != "mlflow.db"
    }
    with sqlite3.connect(folder(root) / "mlflow.db") as database:
        dump = "\n".join(database.iterdump())
    return {**files, "mlflow.db": dump.encode()}


def test_the_life_of_a_model_is_told_by_file_and_store_alike(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYDISTILL_ACTOR", "ada")
    params = load_params(evaluated)
    for seed, score in ((0, 0.5), (1, 0.6), (2, 0.55)):
        retrain(evaluated, seed=seed, score=score)
        publish(evaluated, params, "text")
        before = written(evaluated)
        promote(evaluated, params, "text", dry_run=True)
        assert written(evaluated) == before
        promote(evaluated, params, "text")
    forced = promote(evaluated, params, "text", force="2 leaks a name.")
    assert json.loads(Layout(evaluated, "text").verdict.read_text())["promoted"]
    rollback(evaluated, "text", reason="3 swears.")

    told = history(evaluated, "text")

    assert [entry.action for entry in told] == [
        "first", "challenge", "promote", "challenge", "promote", "challenge", "refuse", "force",
        "rollback",
    ]  # fmt: skip
    assert forced.promoted
    assert replay(told) == {"challenger": 3, "champion": 2, "previous": 3}
    lines = ledger_file(evaluated, NAME).read_text().splitlines()
    assert lines == [entry.line for entry in told]
    assert [path.read_text().strip() for path in artifacts(evaluated)] == lines
    ids = told[4].ids
    assert (ids.version, ids.student_sha256) == (2, json.loads(lines[3])["ids"]["student_sha256"])
    assert ids.run_id is not None
    assert ids.lock_sha256 is not None
    assert {entry.who for entry in told} == {"ada"}
    files = dump(evaluated, "text")
    model = json.loads(files[1].read_text())
    assert model["aliases"] == replay(told)
    assert not [version for version in model["versions"] if "ledger_head" in version["tags"]]


def test_a_workspace_that_was_thrown_away_gets_its_file_back_from_the_store(root: Path) -> None:
    move(root, 1)
    move(root, 2)
    file = ledger_file(root, NAME)
    before = file.read_bytes()
    file.write_bytes(before.splitlines(keepends=True)[0])  # as an older commit has it

    assert len(entries(root)) == 3
    assert file.read_bytes() == before

    file.unlink()
    move(root, 3)

    assert file.read_bytes().startswith(before)
    assert len(file.read_text().splitlines()) == 4


def test_a_store_that_was_lost_goes_on_with_the_ledger_of_the_file(
    root: Path, empty_database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    move(root, 2)
    shutil.copy(empty_database, folder(root) / "mlflow.db")
    shutil.rmtree(folder(root) / "artifacts")
    with connected(root) as client:
        client.create_registered_model(NAME)
        client.create_model_version(NAME, "file:///nowhere")

    move(root, 1)

    assert actions(root) == ["first", "challenge", "external", "challenge"]
    assert entries(root)[2].moves == {"challenger": (2, None)}
    assert len(artifacts(root)) == 4
    assert (
        "MLflow lacked entries 1, 2: restored from mlruns/exports/student-text.ledger.jsonl"
        in caplog.text
    )


def test_an_alias_moved_in_mlflow_itself_and_a_deleted_version_are_external(root: Path) -> None:
    move(root, 1)
    with connected(root) as client:
        client.set_registered_model_alias(NAME, "champion", "2")

    first = entries(root)[-1]
    with connected(root) as client:
        client.delete_model_version(NAME, "2")
    second = entries(root)[-1]

    assert (first.action, first.moves) == ("external", {"champion": (None, 2)})
    assert (second.action, second.moves) == ("external", {"champion": (2, None)})
    assert "Version 2 does not exist any more." in second.reason


@pytest.mark.parametrize("cut", ["_set_tag", "mark_applied", "_write_file"])
def test_a_process_that_dies_between_two_writes_is_mended_by_the_next(
    root: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    move(root, 1)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowLedger, cut, _die)
        with pytest.raises(KeyboardInterrupt):
            move(root, 2)

    move(root, 3)

    found = entries(root)
    with connected(root) as client:
        assert aliases(client) == replay(found) == {"challenger": 3}
    lines = [entry.line for entry in found]
    assert ledger_file(root, NAME).read_text().splitlines() == lines
    assert [entry.moves for entry in found if entry.action == "challenge"][-1]["challenger"] == (
        1 if cut == "_set_tag" else 2, 3,
    )  # fmt: skip
    assert (found[-2].action == "heal") == (cut == "_write_file")


def _die(*_arguments: object) -> None:
    raise KeyboardInterrupt


def test_what_was_tampered_with_is_named_wherever_it_is(root: Path) -> None:
    for version in (1, 2, 3):
        move(root, version)
    file, artifact = ledger_file(root, NAME), artifacts(root)[1]
    good, kept = file.read_text(), artifact.read_text()

    file.write_text(good.replace("Version 2", "Version 9"))
    with pytest.raises(
        LedgerError, match=r"student-text\.ledger\.jsonl: entry 3 was edited[^$]*move"
    ):
        entries(root)
    file.write_text(good + good.splitlines()[-1] + "\n")
    with pytest.raises(LedgerError, match="entry 4 was inserted"):
        move(root, 1)
    file.write_bytes(bytes(range(256)))
    with pytest.raises(LedgerError, match="is not a text in UTF-8"):
        entries(root)
    file.write_text(good)
    artifact.write_text(kept.replace('"ada"', '"eve"'))
    with pytest.raises(LedgerError, match="MLflow's ledger of student-text: entry 2 was edited"):
        entries(root)
    artifact.unlink()
    file.unlink()
    with pytest.raises(
        LedgerError, match="MLflow's ledger of student-text: entry 2 .* was removed"
    ):
        move(root, 1)
    file.write_text(good)  # either copy brings back the other

    assert len(entries(root)) == 4
    assert artifact.read_text() == kept

    file.write_text("".join(good.splitlines(keepends=True)[:-1]))
    artifacts(root)[-1].unlink()
    with pytest.raises(LedgerError, match="entry 4 .* was removed"):  # the end, in both
        move(root, 1)


def test_an_end_that_the_registry_does_not_name_is_refused(root: Path) -> None:
    move(root, 1)
    with connected(root) as client:
        head = client.get_registered_model(NAME).tags["ledger_head"]
    move(root, 2)
    with connected(root) as client:
        client.set_registered_model_tag(NAME, "ledger_head", head)

    with pytest.raises(
        LedgerError, match="entry 3 is not the one in MLflow, whose last entry is 2"
    ):
        entries(root)


def test_a_locked_database_leaves_nothing_half_written(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(root, 1)
    monkeypatch.setattr("polydistill.integrations.mlflow.store.LOCK_TIMEOUT_S", 0.1)
    before = written(root)
    holder = sqlite3.connect(folder(root) / "mlflow.db")
    holder.execute("BEGIN EXCLUSIVE")

    with pytest.raises(InfrastructureError, match="Wait for that process"):
        move(root, 2)

    holder.rollback()
    holder.close()
    assert written(root) == before
    move(root, 2)
    assert actions(root) == ["first", "challenge", "challenge"]


def test_another_machine_at_the_same_server_is_found_out(root: Path) -> None:
    move(root, 1)

    with connected(root) as client, recorded(root, client, NAME) as registry:
        registry.reconcile()
        ours = MlflowLedger(root, client, NAME)
        theirs = registry.entries[-1].model_copy(update={"number": 3, "previous_sha256": "0" * 64})
        with pytest.raises(InfrastructureError, match="another machine is at work"):
            ours.append(theirs)

    assert len(entries(root)) == 2


@pytest.mark.slow
def test_two_processes_at_once_make_one_chain(root: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from polydistill.integrations.mlflow.ledger import recorded\n"
        "from polydistill.integrations.mlflow.store import connected\n"
        "from polydistill.registry.promotion import challenge\n"
        f"root, name = Path({str(root)!r}), {NAME!r}\n"
        "with connected(root) as client:\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    for turn in range(5):\n"
        "        with recorded(root, client, name) as registry:\n"
        "            now = registry.registry.aliases().get('challenger', 0)\n"
        "            challenge(registry, now % 3 + 1)\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [process.stdout.readline() for process in running if process.stdout] == ["ready\n"] * 2

    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[1] for process in running]

    assert [process.returncode for process in running] == [0, 0], said
    found = entries(root)
    assert [entry.action for entry in found] == ["first", *["challenge"] * 10]
    assert len(artifacts(root)) == 11  # and none that a fork has left beside the chain
    with connected(root) as client:
        assert aliases(client) == replay(found)


def test_a_lock_that_is_held_too_long_is_worth_another_try(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polydistill.integrations.mlflow.ledger.LOCK_TIMEOUT_S", 0.1)
    with (
        connected(root) as client,
        recorded(root, client, NAME),
        pytest.raises(InfrastructureError, match=r"The registry in .* is locked after 0\.1 s by "),
    ):
        move(root, 2)


def test_looking_back_at_nothing_makes_nothing(tmp_path: Path, root: Path) -> None:
    nowhere = tmp_path / "elsewhere"
    with pytest.raises(MissingDataError, match="No model student-text in the registry"):
        history(nowhere, "text")
    assert not nowhere.exists()

    move(root, 1)
    past = history(root, "text", datetime(2020, 1, 1, tzinfo=UTC))

    assert past == ()


@pytest.mark.parametrize("uri", ["mlflow-artifacts:/2/ab/artifacts", "s3://bucket/2/ab/artifacts"])
def test_a_servers_own_artifacts_are_not_looked_for_on_our_disk(uri: str) -> None:
    _onto_disk(uri, "entries/000001.json")

    with pytest.raises(FileNotFoundError):
        _onto_disk("file:///nowhere/artifacts", "entries/000001.json")
