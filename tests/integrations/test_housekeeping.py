from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.config.params import load_params
from polydistill.errors import LedgerError
from polydistill.integrations.dvc.recovery import RWLOCK
from polydistill.integrations.garbage import Garbage, find_files
from polydistill.integrations.mlflow.bundle import load_model
from polydistill.integrations.mlflow.garbage import Sweep, sweep
from polydistill.integrations.mlflow.promotion import promote
from polydistill.integrations.mlflow.publish import publish
from polydistill.integrations.mlflow.store import connected
from polydistill.integrations.mlflow.tracker import MlflowTracker
from polydistill.integrations.reproduction import PLACES
from tests.published_project import retrain

NOW = (0.0, 0)
"""Nothing is too young, and no version stays for being new."""


def kinds(report: Sweep) -> list[tuple[str, str]]:
    return sorted((one.kind, one.what) for one in report.garbage)


def unneeded(root: Path) -> list[str]:
    return [one.what for one in find_files(root, "text", 0.0)]


def put(root: Path, path: str, content: str = "x" * 100) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def test_unfinished_work_scratch_and_shards_of_no_stage_are_listed_with_their_bytes(
    evaluated: Path,
) -> None:
    embed = {"outs": [{"path": "artifacts/text/embeddings/corpus/minilm-l6"}]}
    stages = {"embed@text-minilm-l6": {"cmd": "embed", **embed}}
    put(evaluated, "dvc.lock", json.dumps({"schema": "2.0", "stages": stages}) + "\n")
    put(evaluated, ".polydistill/work/distill/text-0123/checkpoints/model")
    put(evaluated, ".polydistill/work/distill/vision-0123/model")
    put(evaluated, "artifacts/text/embeddings/corpus/minilm-l6/shard-00000.arrow")
    put(evaluated, "artifacts/text/embeddings/corpus/glove-50d/shard-00000.arrow")
    put(evaluated, "artifacts/text/embeddings/corpus/.minilm-l6.last/shard-00000.arrow")
    put(evaluated, f"{PLACES}/student-text-1-999999999/data")
    put(evaluated, f"{PLACES}/student-text-1-{os.getpid()}/data")
    put(evaluated, ".dvc/tmp/exps/standalone/tmp1/dvc.yaml")
    upload = "mlruns/artifacts/0/artifacts/gate/.artifact.uploading.1"
    put(evaluated, upload)

    found = find_files(evaluated, "text", 0.0)

    assert {one.what for one in found} == {
        ".polydistill/work/distill/text-0123",
        "artifacts/text/embeddings/corpus/.minilm-l6.last",
        "artifacts/text/embeddings/corpus/glove-50d",
        f"{PLACES}/student-text-1-999999999",
        ".dvc/tmp/exps/standalone/tmp1",
        upload,
    }
    assert {one.size_bytes for one in found} == {100}
    assert all(one.why for one in found)


def test_young_work_and_work_of_a_stage_that_runs_are_left_alone(evaluated: Path) -> None:
    put(evaluated, ".polydistill/work/distill/text-0123/model")
    holder = {"pid": os.getpid(), "cmd": "dvc repro"}

    assert find_files(evaluated, "text", 1.0) == []
    assert unneeded(evaluated) == [".polydistill/work/distill/text-0123"]
    for lock in ({"read": {"data": [holder]}}, {"write": {"artifacts": holder}}):
        put(evaluated, str(RWLOCK), json.dumps(lock))
        assert unneeded(evaluated) == []
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    put(evaluated, str(RWLOCK), json.dumps({"write": {"a": {**holder, "pid": ended.pid}}}))
    assert unneeded(evaluated) == [".polydistill/work/distill/text-0123"]


def test_runs_of_no_version_go_and_what_is_published_or_waits_stays(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = load_params(evaluated)
    for seed, score in ((0, 0.5), (1, 0.6)):
        retrain(evaluated, seed=seed, score=score)
        publish(evaluated, params, "text")
        promote(evaluated, params, "text")
    retrain(evaluated, seed=2, score=0.7)
    waiting, lost = (MlflowTracker(evaluated, "text") for _ in range(2))
    report = json.loads((evaluated / "reports/text/distill.json").read_text())
    waiting.set_tags({"student_sha256": report["student_sha256"]})
    lost.log_metrics({"held_out/x": 1.0}, step=1)
    lost_run = lost.run_id
    for tracker in (waiting, lost):
        tracker.close()
    monkeypatch.chdir(evaluated)

    listed = CliRunner().invoke(app, ["gc", "--older-than-h", "0", "--json"])
    again = sweep(evaluated, ["text"], NOW, remove=False)
    removed = CliRunner().invoke(app, ["gc", "text", "--older-than-h", "0", "--yes"])
    after = sweep(evaluated, ["text"], NOW, remove=False)

    assert [one["what"] for one in json.loads(listed.stdout)["garbage"]] == [lost_run]
    assert kinds(again) == [("run", lost_run)]  # a dry run has removed nothing
    assert removed.exit_code == 0
    assert "a run of no version" in removed.output
    assert after.garbage == ()
    assert load_model(evaluated, "models:/student-text@previous")(["a"]).shape == (1, 8)


def test_a_version_that_never_was_champion_goes_with_its_run_and_bundle(evaluated: Path) -> None:
    params = load_params(evaluated)
    runs = []
    for seed, score in enumerate((0.5, 0.1, 0.6, 0.7)):
        retrain(evaluated, seed=seed, score=score)
        runs.append(publish(evaluated, params, "text").run_id)
        promote(evaluated, params, "text")  # 2 is refused; 4 is champion and challenger, 3 previous
    with connected(evaluated) as client:
        source = str(client.get_model_version("student-text", "2").source)
    bundle = source.removeprefix("models:/")

    newest = sweep(evaluated, ["text"], (0.0, 3), remove=False)
    removed = sweep(evaluated, ["text"], NOW, remove=True)

    assert newest.garbage == ()
    assert kinds(removed) == [("bundle", bundle), ("run", runs[1]), ("version", "student-text/2")]
    assert removed.size_bytes > 1000
    assert not [*(evaluated / "mlruns/artifacts").rglob(bundle)]
    with connected(evaluated) as client:
        left = {int(one.version) for one in client.search_model_versions("name = 'student-text'")}
    assert left == {1, 3, 4}
    assert load_model(evaluated, "models:/student-text/1")(["a"]).shape == (1, 8)


def test_a_model_without_a_ledger_keeps_its_versions(evaluated: Path) -> None:
    with connected(evaluated) as client:
        client.create_registered_model("student-text")
        client.create_model_version("student-text", "file:///nowhere")

    assert sweep(evaluated, ["text"], NOW, remove=False).garbage == ()


def test_a_ledger_that_was_tampered_with_stops_the_sweep(evaluated: Path) -> None:
    params = load_params(evaluated)
    publish(evaluated, params, "text")
    promote(evaluated, params, "text")
    path = evaluated / "mlruns/exports/student-text.ledger.jsonl"
    path.write_text(path.read_text().replace("published", "public"))

    with pytest.raises(LedgerError):
        sweep(evaluated, ["text"], NOW, remove=True)


def test_looking_makes_no_tracking_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    put(tmp_path, ".polydistill/work/evaluate/text/mteb/x.json")

    report = sweep(tmp_path, ["text"], NOW, remove=True)

    work = ".polydistill/work/evaluate/text"
    why = report.garbage[0].why
    assert report.garbage == (Garbage("work", work, why, 100),)
    assert not (tmp_path / work).exists()
    assert not (tmp_path / "mlruns").exists()
