"""Warm starts: runs that start from an earlier version, with added and removed teachers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from polydistill.config.params import Params
from polydistill.errors import MissingDataError, ParamsError, PolydistillError, StoreError
from polydistill.export.predicted_embeddings import TeacherPredictor
from polydistill.project.layout import Layout
from polydistill.stages.distill import distill
from polydistill.stages.import_version import ImportedVersion, import_version
from polydistill.students import encode, load_student
from tests.distill_project import (
    SOURCES,
    TEACHERS,
    add_teacher,
    make_distill_project,
    outputs,
    small_params,
)

ADDED = {**TEACHERS, "third": 9}
SWAPPED = {"third": 9, "first": 12}
STEPS = 13  # the steps of two epochs
TEXTS = ["red cat runs", "never green", "dog"]


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ImportedVersion]:
    """A project with an imported student of two teachers, and the embeddings of a third teacher."""
    root = tmp_path_factory.mktemp("warm") / "adopted"
    layout = make_distill_project(root)
    distill(root, small_params(), "text")
    version = import_version(root, "text", layout.artifacts)
    add_teacher(layout, "third", 9)
    return root, version


@pytest.fixture
def project(imported: tuple[Path, ImportedVersion], tmp_path: Path) -> Path:
    return Path(shutil.copytree(imported[0], tmp_path / "project"))


@pytest.fixture
def warm(imported: tuple[Path, ImportedVersion]) -> Callable[..., Params]:
    """Return parameters that start from the imported version."""

    def make(
        teachers: Mapping[str, int] = ADDED,
        start: Mapping[str, object] | None = None,
        **changes: Any,
    ) -> Params:
        own = {"sha256": imported[1].sha256, "epochs": 2, "head_steps": 4, **(start or {})}
        return small_params(teachers=teachers, warm_start=own, **changes)

    return make


def predict(folder: Path, student: Path, teacher: str) -> tuple[np.ndarray[Any, Any], ...]:
    return TeacherPredictor(folder, student).predict(encode(load_student(student), TEXTS), teacher)


def heads_before_and_after(
    imported: tuple[Path, ImportedVersion], layout: Layout
) -> tuple[dict[str, np.ndarray[Any, Any]], ...]:
    old, new = (
        load_file(f / "heads.safetensors") for f in (imported[1].folder / "heads", layout.heads)
    )
    return old, new


def weights_of(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_without_training_known_teachers_are_predicted_as_before(
    project: Path, imported: tuple[Path, ImportedVersion], warm: Callable[..., Params]
) -> None:
    layout, old = Layout(project, "text"), imported[1].folder

    # The training rows differ, so newly fitted statistics would differ.
    params = warm({"first": 12}, {"epochs": 0}, corpus={"held_out": 0.5})
    report = distill(project, params, "text")

    assert weights_of(layout.student) == weights_of(old / "student")
    mean, _ = predict(layout.heads, layout.student, "first")
    expected, _ = predict(old / "heads", old / "student", "first")
    np.testing.assert_allclose(mean, expected, atol=1e-6)
    before, after = heads_before_and_after(imported, layout)
    for statistic in ("first/mean", "first/std"):
        np.testing.assert_array_equal(after[statistic], before[statistic])
    assert not any(name.startswith("second/") for name in after)
    assert (report.steps, report.best_step) == (0, 0)
    assert report.warm_start is not None
    assert report.warm_start.retired == ("second",)
    assert report.warm_start.new == ()
    assert set(pd.read_parquet(layout.history)["split"]) == {"held-out"}


@pytest.mark.parametrize("weighting", ["running", "phi-s", "none", "ema-norm", "uncertainty"])
def test_with_every_weighting_known_teachers_are_predicted_as_before(
    project: Path, warm: Callable[..., Params], weighting: str
) -> None:
    layout, own = Layout(project, "text"), {"name": weighting}
    distill(project, small_params(weighting=own), "text")
    version = import_version(project, "text", layout.artifacts)
    start = {"sha256": version.sha256, "epochs": 0}

    distill(project, warm({"first": 12}, start, corpus={"held_out": 0.5}, weighting=own), "text")

    mean, _ = predict(layout.heads, layout.student, "first")
    expected, _ = predict(version.folder / "heads", version.folder / "student", "first")
    np.testing.assert_allclose(mean, expected, atol=1e-6)


def test_in_the_first_steps_only_the_new_head_is_trained(
    project: Path, imported: tuple[Path, ImportedVersion], warm: Callable[..., Params]
) -> None:
    layout, old = Layout(project, "text"), imported[1].folder

    # At most half of the steps may be used. The learning rate is so high that the kept weights are earlier ones.
    start = {"head_steps": 99, "learning_rate": 20.0}
    report = distill(project, warm(ADDED, start, training={"evals_per_epoch": 7}), "text")

    assert 1 < report.best_step <= STEPS // 2
    assert weights_of(layout.student) == weights_of(old / "student")
    before, after = heads_before_and_after(imported, layout)
    np.testing.assert_array_equal(after["hidden.weight"], before["hidden.weight"])
    n_old = sum(TEACHERS.values())
    for name in ("mean.weight", "mean.bias", "log_scale.weight", "log_scale.bias"):
        np.testing.assert_array_equal(after[name][:n_old], before[name])
    assert np.abs(after["mean.bias"][n_old:]).min() > 0


def test_with_a_new_teacher_all_parts_are_trained(
    project: Path, imported: tuple[Path, ImportedVersion], warm: Callable[..., Params]
) -> None:
    layout = Layout(project, "text")

    report = distill(project, warm(), "text")

    reported = json.loads(layout.distillation.read_text())["warm_start"]
    assert reported == {
        "sha256": imported[1].sha256,
        "student_sha256": imported[1].student_sha256,
        "warm": list(TEACHERS),
        "new": ["third"],
        "retired": [],
        "head_steps": 4,
    }
    assert report.steps == STEPS
    assert set(report.held_out) == set(report.coverage_90) == set(ADDED)
    assert report.student_sha256 != imported[1].student_sha256
    assert weights_of(layout.undistilled) == weights_of(
        Layout(imported[0], "text").undistilled
    )  # the reference student is untrained


def test_a_teacher_can_be_replaced_and_the_order_changed(
    project: Path, warm: Callable[..., Params]
) -> None:
    report = distill(project, warm(SWAPPED), "text")

    assert report.warm_start is not None
    assert report.warm_start.warm == ("first",)
    assert report.warm_start.new == ("third",)
    assert report.warm_start.retired == ("second",)


def test_a_warm_start_has_a_lower_loss_than_a_cold_one(
    project: Path, imported: tuple[Path, ImportedVersion], warm: Callable[..., Params]
) -> None:
    cold = distill(project, small_params(teachers=ADDED, training={"epochs": 2}), "text")
    report = distill(project, warm(), "text")

    assert report.held_out_mean < cold.held_out_mean - 0.01


def test_means_of_known_teachers_are_trained_and_their_scales_and_the_trunk_are_frozen(
    project: Path, imported: tuple[Path, ImportedVersion], warm: Callable[..., Params]
) -> None:
    layout = Layout(project, "text")

    distill(project, warm({"first": 12}), "text")

    before, after = heads_before_and_after(imported, layout)
    for name in ("hidden.weight", "hidden.bias"):
        np.testing.assert_array_equal(after[name], before[name])
    for name in ("log_scale.weight", "log_scale.bias"):
        np.testing.assert_array_equal(after[name], before[name][:12])
    for name in ("mean.weight", "mean.bias"):
        assert np.abs(after[name] - before[name][:12]).max() > 0


def test_removing_a_teacher_trains_the_student_from_the_first_step(
    project: Path, warm: Callable[..., Params]
) -> None:
    report = distill(project, warm({"first": 12}), "text")

    assert report.warm_start is not None
    assert report.warm_start.head_steps == 0


def test_a_second_run_with_a_warm_start_gives_the_same_bytes(
    project: Path, warm: Callable[..., Params], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(project, tmp_path / "other"))

    for root in (project, other):
        distill(root, warm(), "text")

    assert outputs(Layout(project, "text")) == outputs(Layout(other, "text"))


@pytest.mark.parametrize(
    "start",
    [pytest.param({}, marks=pytest.mark.slow), {"head_steps": 6, "epochs": 3}],
    ids=["later", "held"],
)
def test_a_killed_run_with_a_warm_start_resumes_to_the_same_bytes(
    project: Path, warm: Callable[..., Params], tmp_path: Path, start: dict[str, object]
) -> None:
    # Evaluated every two steps, so that checkpoint 4 is within the six steps with a frozen student.
    params = warm(ADDED, start, training={"evals_per_epoch": 3})
    other = Path(shutil.copytree(project, tmp_path / "other"))
    shutil.rmtree(Layout(other, "text").student)
    distill(project, params, "text")

    killed = subprocess.run(
        [sys.executable, "-m", "tests.distill_project", "6", params.model_dump_json()],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": SOURCES},
        cwd=other,
        capture_output=True,
        check=False,
    )
    left = list((other / ".polydistill").rglob("trainer_state.json"))
    distill(other, params, "text")

    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert left
    assert outputs(Layout(other, "text")) == outputs(Layout(project, "text"))


@pytest.mark.parametrize(
    "start",
    [{"epochs": 1}, {"head_steps": 2}, {"learning_rate": 0.5}, {"head_learning_rate": 0.1}],
    ids=lambda start: next(iter(start)),
)
def test_every_setting_of_the_warm_start_has_an_effect(
    project: Path, warm: Callable[..., Params], start: dict[str, object]
) -> None:
    report = distill(project, warm(), "text")
    other = distill(project, warm(ADDED, start), "text")

    assert other.student_sha256 != report.student_sha256


@pytest.mark.parametrize(
    ("teachers", "start", "changes", "kind", "message"),
    [
        (ADDED, {}, {"student": {"dim": 6}}, ParamsError, r"student.dim must be 8.*got 6"),
        (ADDED, {}, {"heads": {"hidden": 8}}, ParamsError, r"heads.hidden must be 16.*got 8"),
        (ADDED, {}, {"heads": {"modes": 2}}, ParamsError, r"heads.modes must be 1.*got 2"),
        (
            ADDED,
            {},
            {"heads": {"name": "shared-trunk"}},
            ParamsError,
            r"heads.name must be 'low-rank'.*got 'shared-trunk'",
        ),
        (
            ADDED,
            {},
            {"weighting": {"name": "phi-s"}},
            ParamsError,
            r"weighting must be 'per-dimension'.*got 'phi-s'",
        ),
        (
            {"third": 9},
            {},
            {},
            ParamsError,
            r"none of the teachers third is among .* first, second",
        ),
        (ADDED, {"epochs": 0}, {}, ParamsError, r"epochs must be at least 1.*new teacher 'third'"),
        (ADDED, {"sha256": "0" * 64}, {}, MissingDataError, r"adopted/text/0{16}.*warm-start"),
    ],
)
def test_an_incompatible_version_is_refused(  # noqa: PLR0913, PLR0917
    project: Path,
    warm: Callable[..., Params],
    teachers: dict[str, int],
    start: dict[str, object],
    changes: dict[str, Any],
    kind: type[PolydistillError],
    message: str,
) -> None:
    with pytest.raises(kind, match=message):
        distill(project, warm(teachers, start, **changes), "text")


@pytest.mark.parametrize(
    ("dim", "n", "message"),
    [
        (11, 3, r"'first' must have dim 12, as when its head was trained, got 11"),
        (
            12,
            2,
            r"'first' must have weights and settings of identity [0-9a-f]{12}, as.*give it another name",
        ),
    ],
)
def test_a_different_teacher_with_a_known_name_is_refused(
    project: Path, warm: Callable[..., Params], dim: int, n: int, message: str
) -> None:
    add_teacher(Layout(project, "text"), "first", dim, n)

    with pytest.raises(StoreError, match=message):
        distill(project, warm({"first": dim}), "text")


def test_a_version_whose_files_have_changed_is_refused(
    project: Path, imported: tuple[Path, ImportedVersion], warm: Callable[..., Params]
) -> None:
    folder = Layout(project, "text").warm_start(imported[1].sha256)
    card = folder / "student" / "student.json"
    card.write_text(card.read_text() + "\n")

    with pytest.raises(StoreError, match=r"warm_start.sha256 is [0-9a-f]{16}: remove"):
        distill(project, warm(), "text")


def test_the_default_starts_from_scratch() -> None:
    assert small_params().modality("text").warm_start.sha256 is None
