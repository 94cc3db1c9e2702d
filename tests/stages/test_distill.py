from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file

from polydistill.config.overrides import changed, only_teachers
from polydistill.data.ids import unpack_ids
from polydistill.embeddings.extraction import write_embeddings
from polydistill.embeddings.specification import Precomputed
from polydistill.embeddings.store import open_embeddings
from polydistill.errors import DataError, StoreError
from polydistill.export.predicted_embeddings import TeacherPredictor
from polydistill.project.layout import Layout
from polydistill.stages.distill import distill
from polydistill.students import encode, load_student
from polydistill.training.dataset import held_out_mask
from tests.distill_project import (
    REPOSITORY,
    SOURCES,
    TEACHERS,
    make_distill_project,
    outputs,
    small_params,
)
from tests.jsonl_tracker import JsonlTracker
from tests.stored_corpus import store_corpus


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("distill") / "embedded"
    make_distill_project(root)
    return root


@pytest.fixture(scope="session")
def distilled(embedded: Path) -> Layout:
    root = embedded.with_name("distilled")
    shutil.copytree(embedded, root)
    distill(root, small_params(), "text", tracker=JsonlTracker(root / "log.jsonl"))
    return Layout(root, "text")


@pytest.fixture
def project(embedded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(embedded, tmp_path / "project"))


def test_the_report_matches_the_files(distilled: Layout) -> None:
    report = json.loads(distilled.distillation.read_text())

    weights = (distilled.student / "model.safetensors").read_bytes()
    before = (distilled.undistilled / "model.safetensors").read_bytes()
    assert report["student_sha256"] == hashlib.sha256(weights).hexdigest()
    assert report["undistilled_sha256"] == hashlib.sha256(before).hexdigest()
    assert report["student_sha256"] != report["undistilled_sha256"]
    assert report["n_parameters"] == 256 * report["dim"]
    assert report["n_train"] + report["n_held_out"] == 240
    assert report["diverged"] is False
    assert set(report["held_out"]) == set(TEACHERS)
    assert report["held_out_mean"] == pytest.approx(np.mean(list(report["held_out"].values())))


def test_history_and_curves_have_the_same_numbers(distilled: Layout) -> None:
    history = pd.read_parquet(distilled.history)
    curves = pd.read_csv(distilled.reports / "history.csv", index_col="step")

    report = json.loads(distilled.distillation.read_text())
    held_out = history[history["split"] == "held-out"]
    assert list(history.columns) == ["step", "teacher", "split", "nats"]
    assert set(curves.columns) == {"mean", *TEACHERS}
    np.testing.assert_allclose(curves["mean"], curves[list(TEACHERS)].mean(axis=1), atol=1e-6)
    for teacher in TEACHERS:
        rows = held_out[held_out["teacher"] == teacher]
        np.testing.assert_allclose(curves.loc[rows["step"], teacher], rows["nats"], atol=1e-6)
        assert curves.loc[report["best_step"], teacher] == report["held_out"][teacher]


def test_dvc_plots_existing_columns(distilled: Layout) -> None:
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    [plot] = stages["distill"]["do"]["plots"][0].values()

    header = (distilled.reports / "history.csv").read_text().splitlines()[0].split(",")
    assert {plot["x"], plot["y"]} <= set(header)


def test_the_student_and_the_undistilled_one_load(distilled: Layout) -> None:
    student, before = load_student(distilled.student), load_student(distilled.undistilled)

    assert not np.allclose(encode(student, ["red cat"]), encode(before, ["red cat"]))


def test_the_heads_are_stored_with_the_statistics_of_each_teacher(distilled: Layout) -> None:
    tensors = load_file(distilled.heads / "heads.safetensors")
    card = json.loads((distilled.heads / "heads.json").read_text())

    report = json.loads(distilled.distillation.read_text())
    assert card["teachers"] == list(TEACHERS)
    assert card["teacher_dims"] == TEACHERS
    assert card["student_dim"] == report["dim"]
    assert card["student_sha256"] == report["student_sha256"]
    assert card["scale"] == "predicted"
    for teacher, dim in TEACHERS.items():
        assert tensors[f"{teacher}/mean"].shape == (dim,)
        assert (tensors[f"{teacher}/std"] > 0).all()


def test_calibrated_intervals_contain_about_nine_tenths_of_held_out_values(tmp_path: Path) -> None:
    make_distill_project(
        tmp_path, rows=1200
    )  # about 120 rows to calibrate on and as many to measure on

    report = distill(tmp_path, small_params(rows=1200), "text")

    assert set(report.coverage_90) == set(report.coverage_90_before) == set(TEACHERS)
    for share in report.coverage_90.values():
        assert share == pytest.approx(0.9, abs=0.05)


def test_unfinished_work_is_removed_and_the_tracker_is_called(distilled: Layout) -> None:
    work = distilled.scratch / "work" / "distill"
    log = [json.loads(line) for line in (distilled.root / "log.jsonl").read_text().splitlines()]

    assert not work.exists() or not any(work.iterdir())
    assert any("held_out/first" in entry.get("metrics", {}) for entry in log)
    report = json.loads(distilled.distillation.read_text())
    assert log[-1]["tags"]["student_sha256"] == report["student_sha256"]


def test_a_second_run_gives_the_same_bytes(distilled: Layout, project: Path) -> None:
    report = distill(project, small_params(), "text")

    assert json.loads(json.dumps(asdict(report))) == json.loads(distilled.distillation.read_text())
    assert outputs(Layout(project, "text")) == outputs(distilled)


def test_a_killed_run_resumes_to_the_same_bytes(distilled: Layout, project: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-m", "tests.distill_project", "12"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": SOURCES},
        cwd=project,
        capture_output=True,
        check=False,
    )
    left = list((project / ".polydistill").rglob("trainer_state.json"))

    distill(project, small_params(), "text")

    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert left
    assert outputs(Layout(project, "text")) == outputs(distilled)


@pytest.mark.parametrize(("code", "first"), [(None, 14), ("of another version", 7)])
def test_unfinished_work_of_other_code_is_not_resumed(
    project: Path, monkeypatch: pytest.MonkeyPatch, code: str | None, first: int
) -> None:
    class PowerCutError(Exception):
        pass

    def cut(what: str, done: int, total: int, **figures: float) -> None:
        if what == "steps" and done >= 9:
            raise PowerCutError

    evaluated = list[int]()

    def reported(what: str, done: int, total: int, **figures: float) -> None:
        if what == "steps":
            evaluated.append(done)

    with pytest.raises(PowerCutError):
        distill(project, small_params(), "text", progress=cut)
    if code is not None:
        monkeypatch.setattr("polydistill.stages.distill.stage_code", lambda *_: code)

    distill(project, small_params(), "text", progress=reported)

    assert evaluated[0] == first


def test_nothing_depends_on_the_order_of_a_set(distilled: Layout, project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.distill_project", "999"],  # a step after the last one: the run is not killed
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "7"},
        cwd=project,
        capture_output=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr.decode()
    assert outputs(Layout(project, "text")) == outputs(distilled)


def test_missing_rows_of_a_teacher_are_accepted(distilled: Layout, project: Path) -> None:
    stored = open_embeddings(Layout(project, "text").embeddings("corpus", "second"))

    rows = stored.take(np.arange(len(stored)))

    assert 0.05 < 1 - rows.present.mean() < 0.2
    report = json.loads(distilled.distillation.read_text())
    assert np.isfinite(report["held_out"]["second"])


def replace_teacher(project: Path, *, on_held_out: bool, constant: bool = False) -> None:
    """Embed either the held-out or the training rows with the second teacher."""
    corpus = store_corpus(project, small_params())
    kept = held_out_mask(corpus.groups, 0.2) == on_held_out
    table = np.random.default_rng(0).standard_normal((240, 7))
    if constant:
        table[:] = table[0]
    names, layout = unpack_ids(corpus.ids[:]), Layout(project, "text")
    teacher = Precomputed(np.where(kept[:, None], table, np.nan), ids=names)
    teacher.name = "second"
    folder = layout.embeddings("corpus", "second")
    write_embeddings(folder, project / "work", corpus.ids, names, teacher)


def test_a_teacher_without_training_rows_is_refused(project: Path) -> None:
    replace_teacher(project, on_held_out=True)

    with pytest.raises(
        DataError, match=r"'second' has an embedding of none of the \d+ training rows"
    ):
        distill(project, small_params(), "text")


def test_a_teacher_that_is_constant_on_training_rows_is_refused(project: Path) -> None:
    replace_teacher(project, on_held_out=False, constant=True)

    with pytest.raises(
        DataError, match=r"'second' has the same embedding for all \d+ training rows"
    ):
        distill(project, small_params(), "text")


def test_a_teacher_without_held_out_rows_does_not_enter_the_mean(project: Path) -> None:
    replace_teacher(project, on_held_out=False)

    report = distill(project, small_params(), "text")

    assert list(report.held_out) == ["first"]
    assert report.held_out_mean == report.held_out["first"] != 0
    assert list(report.coverage_90) == ["first"]


def test_a_run_without_an_embedded_held_out_row_is_refused(project: Path) -> None:
    replace_teacher(project, on_held_out=False)
    params = small_params()

    with pytest.raises(DataError, match="No held-out row has an embedding of any teacher"):
        distill(project, changed(params, only_teachers(params, "text", ["second"])), "text")


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": {"name": "mse"}},
        {"loss": {"name": "cosine"}},
        {"heads": {"modes": 2}},
        {"geometry": {"scale": 100.0}},
        {"student": {"dim": 6}},
    ],
    ids=str,
)
def test_every_setting_has_an_effect(
    distilled: Layout, project: Path, changes: dict[str, Any]
) -> None:
    report = distill(project, small_params(**changes), "text")

    first = json.loads(distilled.distillation.read_text())
    assert report.student_sha256 != first["student_sha256"]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_embeddings_of_a_disabled_teacher_are_moved_out_of_the_dependency(
    project: Path,
) -> None:
    layout, params = Layout(project, "text"), small_params()
    before = contents(layout.embeddings("corpus", "second"))

    distill(project, changed(params, only_teachers(params, "text", ["first"])), "text")

    aside = layout.embedding_work("corpus", "second")
    assert [p.name for p in (layout.artifacts / "embeddings" / "corpus").iterdir()] == ["first"]
    assert contents(aside) == before


@pytest.mark.parametrize(("share", "count"), [(0.0, "0"), (1.0, "240")])
def test_a_corpus_must_have_training_and_held_out_rows(
    project: Path, share: float, count: str
) -> None:
    params = small_params(corpus={"held_out": share})

    with pytest.raises(DataError, match=rf"corpus.held_out: {share} holds out {count} of"):
        distill(project, params, "text")


def test_untrained_heads_have_no_scale(project: Path) -> None:
    distill(project, small_params(loss_weight=0.0), "text")

    predictor = TeacherPredictor(Layout(project, "text").heads, Layout(project, "text").student)
    assert predictor.scale == "residual"
    assert not predictor.scores_novelty


def test_embeddings_of_other_rows_are_refused(project: Path) -> None:
    params = small_params(rows=200)
    store_corpus(project, params)

    with pytest.raises(StoreError, match="does not hold the rows of the corpus"):
        distill(project, params, "text")


def test_missing_embeddings_are_named(project: Path) -> None:
    shutil.rmtree(Layout(project, "text").embeddings("corpus", "second"))

    with pytest.raises(StoreError, match="second"):
        distill(project, small_params(), "text")


@pytest.mark.slow
def test_two_processes_write_one_student_and_exit_with_the_code_of_the_first_failure(
    project: Path, distilled: Layout
) -> None:
    tree = small_params().of_modality("text")
    (project / "params.yaml").write_text(yaml.safe_dump({**tree, "modalities": ["text"]}))
    command = [sys.executable, "-m", "polydistill", "distill", "text", "--processes", "2", "--json"]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 0, done.stderr
    found, expected = (
        json.loads(one.distillation.read_text()) for one in (Layout(project, "text"), distilled)
    )
    assert (
        json.loads(done.stdout[done.stdout.index("{") :])["student_sha256"]
        == found["student_sha256"]
    )
    assert found["held_out_mean"] == pytest.approx(expected["held_out_mean"], abs=0.01)
    assert not [*project.glob(".polydistill/work/distill/*")]

    shutil.rmtree(project / "artifacts" / "text" / "embeddings")
    failed = run()
    assert failed.returncode == StoreError.exit_code
    assert "run the embed stage" in failed.stderr
