from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from polydistill.config.params import load_params
from polydistill.errors import (
    DataError,
    DivergedError,
    InfrastructureError,
    MissingDataError,
    PolydistillError,
    StageError,
    StoreError,
)
from polydistill.integrations.dvc.stages import lock_digest, lock_entries
from polydistill.integrations.mlflow.bundle import bundle_folder, load_model, version_folder
from polydistill.integrations.mlflow.promotion import dump, promote
from polydistill.integrations.mlflow.publish import publish
from polydistill.integrations.mlflow.registry import Version
from polydistill.integrations.mlflow.store import check_store, connected, folder
from polydistill.integrations.mlflow.tracker import MlflowTracker
from polydistill.project.layout import Layout
from polydistill.students import encode, load_student
from tests.published_project import DATA_MD5, TEACHERS, retrain, write_lock

CHAMPION = "models:/student-text@champion"
TEXTS = ["a cat", "a much longer text, with ünïcode", ""]


def aliases(root: Path) -> dict[str, int]:
    with connected(root) as client:
        return {a: int(v) for a, v in client.get_registered_model("student-text").aliases.items()}


def n_runs(client: MlflowClient) -> int:
    experiment = client.get_experiment_by_name("text")
    assert experiment is not None
    return len(client.search_runs([experiment.experiment_id]))


def student_sha256(root: Path) -> str:
    return str(json.loads(Layout(root, "text").distillation.read_text())["student_sha256"])


def test_publishing_twice_from_files_gives_one_version(evaluated: Path) -> None:
    params = load_params(evaluated)

    first = publish(evaluated, params, "text")
    second = publish(evaluated, params, "text")

    assert (first.version, first.created) == (1, True)
    assert (second.version, second.created, second.run_id) == (1, False, first.run_id)
    assert aliases(evaluated) == {"challenger": 1}
    with connected(evaluated) as client:
        assert len(client.search_model_versions("name = 'student-text'")) == 1
        run = client.get_run(first.run_id)
        history = client.get_metric_history(first.run_id, f"held_out/{TEACHERS[0]}")
        files = {file.path for file in client.list_artifacts(first.run_id)}
        version = client.get_model_version("student-text", "1")
    assert run.info.status == "FINISHED"
    assert run.data.params["text.loss.name"] == "beta-nll"
    assert {"seed", "threads"} <= set(run.data.params)
    assert not {name for name in run.data.params if name.startswith(("vision", "molecules"))}
    assert run.data.metrics["scores/student/sts/simlex"] == 0.5
    assert run.inputs is not None
    assert run.inputs.dataset_inputs[0].dataset.digest == DATA_MD5
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 0.5)]
    assert files >= {"predictions.parquet", "heads", "project", "scores.json", "distill.json"}
    assert version.tags["student_sha256"] == student_sha256(evaluated)


@pytest.mark.slow
def test_two_processes_that_publish_at_once_register_one_version(evaluated: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from polydistill.config.params import load_params; "
        "from polydistill.integrations.mlflow.publish import publish; root = Path(sys.argv[1]); "
        "print(publish(root, load_params(root), 'text').version)"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(evaluated)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]

    assert [one.communicate(timeout=300)[0].split()[-1:] for one in both] == [["1"], ["1"]]
    with connected(evaluated) as client:
        assert len(client.search_model_versions("name = 'student-text'")) == 1
        assert n_runs(client) == 1


def test_a_live_run_is_completed_and_no_second_one_made(evaluated: Path) -> None:
    params, tracker = load_params(evaluated), MlflowTracker(evaluated, "text")
    tracker.log_params(params.of_modality("text"))
    tracker.log_metrics({f"held_out/{TEACHERS[0]}": 1.0, "held_out@mean": 1.0}, step=1)
    live = tracker.run_id
    tracker.set_tags({"student_sha256": student_sha256(evaluated)})
    tracker.close()

    published = [publish(evaluated, params, "text") for _ in range(2)]

    assert [(one.run_id, one.version) for one in published] == [(live, 1), (live, 1)]
    with connected(evaluated) as client:
        assert n_runs(client) == 1
        run = client.get_run(str(live))
        history = client.get_metric_history(str(live), f"held_out/{TEACHERS[0]}")
    assert run.info.status == "FINISHED"
    assert run.data.tags["lock_sha256"] == published[0].lock_sha256
    assert run.data.metrics["held_out_mean"] == 1.0  # `@` is not allowed in a name
    assert sorted(point.step for point in history) == [1, 2]  # what was missed is filled in


def test_a_publish_that_was_cut_off_is_finished_by_the_next(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = load_params(evaluated)

    def cut(*_arguments: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("polydistill.integrations.mlflow.publish.register_student", cut)
        with pytest.raises(KeyboardInterrupt):
            publish(evaluated, params, "text")

    published = publish(evaluated, params, "text")

    assert (published.version, published.created) == (1, True)
    with connected(evaluated) as client:
        assert n_runs(client) == 1
        history = client.get_metric_history(published.run_id, "scores/student")
    assert len(history) == 1


def test_champions_come_and_go_and_a_lower_student_is_refused(evaluated: Path) -> None:
    params = load_params(evaluated)
    outcomes = []
    for seed, score in ((0, 0.5), (1, 0.6), (2, 0.55)):
        retrain(evaluated, seed=seed, score=score)
        publish(evaluated, params, "text")
        dry = promote(evaluated, params, "text", dry_run=True)
        verdict = promote(evaluated, params, "text")
        outcomes.append((dry.outcome, verdict.outcome))

    assert outcomes == [(one, one) for one in ("promoted", "promoted", "refused")]
    assert aliases(evaluated) == {"challenger": 3, "champion": 2, "previous": 1}
    written = json.loads(Layout(evaluated, "text").verdict.read_text())
    assert written["refused"]
    assert written["student_sha256"] == student_sha256(evaluated)
    gain = next(rule for rule in written["rules"] if rule["name"] == "gain")
    assert gain["value"] == pytest.approx(-0.05)
    with connected(evaluated) as client:
        tags = client.get_model_version("student-text", "3").tags
    assert tags["verdict"] == "refused"

    retrain(evaluated, seed=1, score=0.6)  # an older student comes back from DVC's cache

    assert publish(evaluated, params, "text").version == 2
    assert promote(evaluated, params, "text").outcome == "unchanged"


def test_the_champion_gives_the_students_embeddings_however_it_is_loaded(
    evaluated: Path, tmp_path: Path
) -> None:
    params = load_params(evaluated)
    publish(evaluated, params, "text")
    promote(evaluated, params, "text")
    expected = encode(load_student(Layout(evaluated, "text").student), TEXTS)
    from sentence_transformers import SentenceTransformer

    embeddings = load_model(evaluated, CHAMPION)(TEXTS)
    bundle = bundle_folder(evaluated, CHAMPION, tmp_path)
    sentence_transformer = SentenceTransformer(str(bundle), device="cpu")

    np.testing.assert_allclose(embeddings, expected, atol=1e-5)
    np.testing.assert_allclose(load_model(evaluated, str(bundle))(TEXTS), expected)
    np.testing.assert_allclose(sentence_transformer.encode(TEXTS[:2]), expected[:2], atol=1e-5)
    stored = folder(evaluated) / "artifacts"
    pickles = {".bin", ".joblib", ".npz", ".pickle", ".pkl", ".pt", ".pth"}
    assert not [path for path in stored.rglob("*") if path.suffix in pickles]
    assert not list((evaluated / "mlruns").glob("*/meta.yaml"))
    pins = next(stored.rglob("requirements.txt")).read_text().split()
    assert {pin.partition("==")[0] for pin in pins} >= {"numpy", "safetensors", "torch"}
    assert all("==" in pin and "+" not in pin for pin in pins)


def test_the_champion_loads_in_a_process_without_our_sources(evaluated: Path) -> None:
    params = load_params(evaluated)
    publish(evaluated, params, "text")
    promote(evaluated, params, "text")
    expected = encode(load_student(Layout(evaluated, "text").student), TEXTS[:1])

    loaded = load_in_fresh_process(evaluated)

    np.testing.assert_allclose(loaded, expected, atol=1e-5)


def load_in_fresh_process(root: Path) -> list[list[float]]:
    """Load the champion with MLflow alone, without this repository's `src` and without our help."""
    code = (
        "import sys; sys.path = [p for p in sys.path if not p.endswith('/src')]\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        "import json, mlflow\n"
        f"model = mlflow.pyfunc.load_model({CHAMPION!r})\n"
        f"result = model.predict({TEXTS[:1]!r})\n"
        "import polydistill; assert '/code/' in polydistill.__file__, polydistill.__file__\n"
        "print(json.dumps(result.tolist()))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd="/",
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlruns/mlflow.db"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    rows: list[list[float]] = json.loads(result.stdout.splitlines()[-1])
    return rows


def test_exports_are_the_same_every_time_and_hold_no_path_or_run(evaluated: Path) -> None:
    params = load_params(evaluated)
    run_id = publish(evaluated, params, "text").run_id
    with pytest.raises(MissingDataError, match="no champion"):
        dump(evaluated, "text")
    promote(evaluated, params, "text")

    files = dump(evaluated, "text")
    before = [file.read_bytes() for file in files]
    again = [file.read_bytes() for file in dump(evaluated, "text")]

    assert before == again
    assert [file.name for file in files] == ["run.json", "model.json"]
    for content in before:
        assert str(evaluated).encode() not in content
        assert run_id.encode() not in content
    run, model = (json.loads(content) for content in before)
    assert run["tags"]["student_sha256"] == student_sha256(evaluated)
    assert run["metrics"][f"held_out/{TEACHERS[0]}"] == [[1, 1.0], [2, 0.5]]
    assert model["aliases"] == {"challenger": 1, "champion": 1}


def test_scores_of_an_older_student_are_not_published(evaluated: Path) -> None:
    write_lock(evaluated, scored="old")

    with pytest.raises(StoreError, match="run the evaluate stage again"):
        publish(evaluated, load_params(evaluated), "text")


def test_weights_that_the_report_does_not_name_are_not_published(evaluated: Path) -> None:
    path = Layout(evaluated, "text").distillation
    path.write_text(json.dumps({**json.loads(path.read_text()), "student_sha256": "0" * 64}))

    with pytest.raises(StoreError, match="run the distill stage again"):
        publish(evaluated, load_params(evaluated), "text")


OUTPUTS = ("student", "heads", "history", "predictions", "validation", "distillation", "scores")
FAULTS: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: path.write_bytes(b""),
    "flipped": lambda path: path.write_bytes(
        bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]
    ),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "lost": lambda path: path.unlink(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_registered_with_an_output_that_dvc_lock_does_not_record(
    evaluated: Path, fault: str
) -> None:
    params, layout = load_params(evaluated), Layout(evaluated, "text")
    before = (folder(evaluated) / "mlflow.db").read_bytes()
    outputs = [getattr(layout, name) for name in OUTPUTS]
    files = [path for out in outputs for path in (sorted(out.iterdir()) if out.is_dir() else [out])]
    for file in files:
        content = file.read_bytes()
        FAULTS[fault](file)

        with pytest.raises(PolydistillError) as got:
            publish(evaluated, params, "text")

        assert file.name in str(got.value) or file.parent.name in str(got.value)
        file.write_bytes(content)
    assert (folder(evaluated) / "mlflow.db").read_bytes() == before
    assert publish(evaluated, params, "text").version == 1


def test_a_diverged_student_is_not_published(evaluated: Path) -> None:
    path = Layout(evaluated, "text").distillation
    path.write_text(json.dumps({**json.loads(path.read_text()), "diverged": True}))

    with pytest.raises(DivergedError):
        publish(evaluated, load_params(evaluated), "text")


def test_the_lock_digest_is_of_one_modality_and_of_nothing_else(evaluated: Path) -> None:
    entries = lock_entries(evaluated, "text")

    assert sorted(entries) == [
        "distill@text",
        "embed@text-minilm-l6",
        "evaluate@text",
        "validate@text",
    ]
    assert lock_digest(entries) == lock_digest(dict(reversed(entries.items())))
    assert lock_digest(entries) != lock_digest({**entries, "distill@text": {}})
    with pytest.raises(MissingDataError, match="dvc repro"):
        lock_entries(evaluated, "molecules")


def test_a_tracking_store_that_is_down_is_one_warning(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = MlflowTracker(evaluated, "text")

    for step in range(3):
        tracker.log_metrics({"held_out/mean": 1.0}, step)
    tracker.set_tags({"student_sha256": "ab"})
    tracker.close()

    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.name for record in warnings] == ["polydistill.integrations.mlflow.tracker"]
    assert "Training continues" in caplog.text
    assert "secret" not in caplog.text
    with pytest.raises(StageError, match="unset MLFLOW_TRACKING_URI"):
        publish(evaluated, load_params(evaluated), "text")
    with pytest.raises(StageError, match="Start that server"):
        check_store(evaluated)


def test_a_broken_database_is_an_error_of_one_screen_without_another_try(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder(evaluated) / "mlflow.db").write_bytes(b"this is no database, " * 500)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waits to try again"))
    tracker = MlflowTracker(evaluated, "text")

    tracker.log_metrics({"held_out/mean": 1.0}, 1)
    with pytest.raises(StageError, match=r"Move .*mlflow\.db away") as got:
        publish(evaluated, load_params(evaluated), "text")

    assert len(str(got.value).splitlines()) < 5


def test_a_locked_database_is_worth_another_try(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polydistill.integrations.mlflow.store.LOCK_TIMEOUT_S", 0.1)
    holder = sqlite3.connect(folder(evaluated) / "mlflow.db")
    holder.execute("BEGIN EXCLUSIVE")

    with pytest.raises(InfrastructureError, match="Wait for that process"):
        publish(evaluated, load_params(evaluated), "text")

    holder.rollback()
    holder.close()
    assert publish(evaluated, load_params(evaluated), "text").version == 1


def test_what_the_registry_does_not_hold_is_named(evaluated: Path) -> None:
    with pytest.raises(MissingDataError, match="No models:/student-text@champion"):
        load_model(evaluated, CHAMPION)
    with pytest.raises(MissingDataError, match="publish a student first"):
        promote(evaluated, load_params(evaluated), "text")
    with pytest.raises(MissingDataError, match="No student in"):
        load_model(evaluated, str(evaluated / "nowhere"))


def test_our_connection_leaves_no_address_behind(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(evaluated):
        pass
    assert "MLFLOW_TRACKING_URI" not in os.environ

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{evaluated}/mlruns/mlflow.db")
    with connected(evaluated.parent):  # the variable wins over the project's own store
        pass

    assert os.environ["MLFLOW_TRACKING_URI"].startswith(f"sqlite:///{evaluated}")
    assert not (evaluated.parent / "mlruns").exists()
    assert check_store(evaluated) == "sqlite:///mlruns/mlflow.db"


def test_a_registered_version_comes_back_with_its_student_and_heads(
    evaluated: Path, tmp_path: Path
) -> None:
    publish(evaluated, load_params(evaluated), "text")
    layout = Layout(evaluated, "text")
    place = tmp_path / "version"
    place.mkdir()

    folder = version_folder(evaluated, "models:/student-text@challenger", place)

    assert sorted(path.name for path in folder.iterdir()) == ["heads", "model", "student"]
    for part in (layout.student, layout.heads):
        files = {path.name: path.read_bytes() for path in part.iterdir()}
        found = {path.name: path.read_bytes() for path in (folder / part.name).iterdir()}
        assert found == files
    with pytest.raises(MissingDataError, match="No models:/student-text@champion"):
        version_folder(evaluated, CHAMPION, tmp_path)


FILES = (
    "distill.json",
    "scores.json",
    "predictions.parquet",
    "heads",
    "student",
    "project/dvc.lock",
)


@pytest.mark.parametrize("is_old", [False, True], ids=["new", "old"])
def test_files_that_were_changed_in_the_store_are_refused_by_name(
    evaluated: Path, tmp_path: Path, *, is_old: bool
) -> None:
    publish(evaluated, load_params(evaluated), "text")
    uri, place = "models:/student-text@challenger", tmp_path / "place"
    place.mkdir()
    with connected(evaluated) as client:
        if is_old:  # an earlier release attached no files
            client.delete_model_version_tag("student-text", "1", "attached_files")
        found = Version(client, "student-text", 1)
        for name in FILES:
            (path,) = (folder(evaluated) / "artifacts").rglob(f"artifacts/{name}")
            file = max(path.rglob("*.*")) if path.is_dir() else path
            content = file.read_bytes()
            changed = content.replace(b"md5: ", b"md5: 0") if "lock" in name else content + b"\n"
            file.write_bytes(changed)
            refused = nullcontext() if is_old else pytest.raises(StoreError, match=Path(name).name)
            with refused:
                if name == "student":
                    bundle_folder(evaluated, uri, place)
                else:
                    found.download(name if "/" not in name else "heads", place)
            file.write_bytes(content)
            bundle_folder(evaluated, uri, place)


def test_a_version_of_a_release_with_other_modules_still_loads_and_compares(
    evaluated: Path,
) -> None:
    params = load_params(evaluated)
    publish(evaluated, params, "text")
    promote(evaluated, params, "text")
    (code,) = (folder(evaluated) / "artifacts").rglob("code/polydistill")
    (code / "data" / "modalities").rename(code / "modalities")
    script = next(code.parents[1].glob("*.py"))
    script.write_text(script.read_text().replace("polydistill.data.", "polydistill."))
    expected = encode(load_student(Layout(evaluated, "text").student), TEXTS)

    np.testing.assert_array_equal(load_model(evaluated, CHAMPION)(TEXTS), expected)
    retrain(evaluated, seed=1, score=0.6)
    publish(evaluated, params, "text")
    assert promote(evaluated, params, "text").promoted


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b"flavors:\n  py", b"a: [", b"\x80", b"flavors: {}\n"]
)
def test_a_damaged_mlmodel_is_named(evaluated: Path, content: bytes) -> None:
    publish(evaluated, load_params(evaluated), "text")
    (card,) = (evaluated / "mlruns").rglob("MLmodel")
    card.write_bytes(content)

    with pytest.raises(DataError, match="MLmodel is damaged"):
        load_model(evaluated, "models:/student-text/1")


@pytest.mark.parametrize(
    "content", [b"", b"schema: '2.0'\nstages:\n  dist", b"[1]", b"\x80", b"a: ["]
)
def test_a_damaged_lock_file_of_a_version_is_named_and_not_repaired(
    evaluated: Path, tmp_path: Path, content: bytes
) -> None:
    publish(evaluated, load_params(evaluated), "text")
    (lock,) = (folder(evaluated) / "artifacts").rglob("artifacts/project/dvc.lock")
    lock.write_bytes(content)

    with pytest.raises(StoreError, match=r"project/dvc\.lock .* is not what was published"):
        bundle_folder(evaluated, "models:/student-text/1", tmp_path)

    assert lock.read_bytes() == content
