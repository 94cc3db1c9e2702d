from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.ablation_grid import Ablation, run_missing, summarise
from polydistill.data.modalities.text import TextModality
from polydistill.data.tables import read_tasks
from polydistill.errors import InfrastructureError, MissingDataError, StageError
from polydistill.project.layout import Layout
from tests.comparison_project import make_comparison_project

CHOSEN = ("default", "loss-mse", "geometry-none", "teachers-1")
GAINS = {"text.loss.name": 0.1, "text.geometry_weight": -0.1}
SETTING = {"corpus.rows": 60}


class FakeExperiments:
    """Writes predictions with known means; raises `InfrastructureError` at the call `dies_at`."""

    def __init__(self, plan: Ablation, dies_at: int = 99, fails: str = "") -> None:
        self.ran: list[str] = []
        self._plan, self._dies_at, self._fails = plan, dies_at, fails
        self._names: set[str] = set()

    def commit(self, message: str) -> None:
        raise AssertionError("the baseline must not change")

    def names(self) -> set[str]:
        return self._names

    def remove(self, name: str) -> None:
        self._names.discard(name)

    def run(self, name: str, changes: Mapping[str, object], target: str) -> None:
        assert target == "evaluate@text"
        if len(self.ran) == self._dies_at:
            raise InfrastructureError("killed")
        self.ran.append(name)
        if name == self._fails:
            raise StageError("Training diverged.")
        layout = Layout(self._plan.workspace, "text")
        layout.artifacts.mkdir(parents=True, exist_ok=True)
        level = 0.5 + sum(gain for key, gain in GAINS.items() if key in changes)
        frames = read_tasks(
            self._plan.workspace, self._plan.params.modality("text").tasks, TextModality()
        )
        pd.concat(
            pd.DataFrame(
                {"task": task, "example": frame["id"], "seed": 0, "model": "student",
                 "score": level + np.random.default_rng(7).normal(scale=0.01, size=len(frame))}
            )
            for task, frame in frames.items()
        ).to_parquet(layout.predictions)  # fmt: skip
        self._names.add(name)


@pytest.fixture
def plan(tmp_path: Path) -> Ablation:
    params = make_comparison_project(tmp_path)
    (tmp_path / "data.dvc").write_text("outs: []\n")
    made = Ablation(tmp_path, params, "text", setting=SETTING, seeds=(0, 1), chosen=CHOSEN)
    made.workspace.mkdir(parents=True)
    shutil.copytree(tmp_path / "data", made.workspace / "data")
    return made


def test_a_killed_ablation_resumes_with_the_missing_trials_and_a_finished_one_runs_nothing(
    plan: Ablation,
) -> None:
    with pytest.raises(InfrastructureError):
        run_missing(plan, FakeExperiments(plan, dies_at=3))
    assert len(plan.missing) == 5
    assert summarise(plan).missing == 5
    assert not (plan.root / "docs").exists()

    rest, nothing = FakeExperiments(plan), FakeExperiments(plan)
    run_missing(plan, rest)
    run_missing(plan, nothing)

    assert len(rest.ran) == 5
    assert nothing.ran == []


def test_the_page_reports_the_gain_of_each_level_and_is_written_with_the_same_bytes(
    plan: Ablation,
) -> None:
    run_missing(plan, FakeExperiments(plan))

    report = summarise(plan)
    results = plan.root / "docs" / "results" / "text"
    first = {path.name: path.read_bytes() for path in results.iterdir()}
    summarise(plan)

    gain = report.factors["loss"]["mse"]["mean"].gain
    assert gain is not None
    assert gain.mean == pytest.approx(0.1)
    assert gain.above_zero
    page = first["ablation.md"].decode()
    assert (
        "- Better than the default in the mean over kinds (the interval excludes zero): loss mse +0.100 ["
        in page
    )
    assert "- Worse than the default (the interval excludes zero): geometry none -0.100 [" in page
    assert "- Indistinguishable from the default: teachers first." in page
    assert set(first) == {"ablation.json", "ablation.md", "ablation.svg"}
    assert {path.name: path.read_bytes() for path in results.iterdir()} == first


def test_a_failed_trial_is_reported_and_the_others_run(plan: Ablation) -> None:
    failed = run_missing(plan, FakeExperiments(plan, fails="loss-mse-s1"))

    report = summarise(plan, failed)

    assert report.failed == ("loss-mse-s1 (Training diverged.)",)
    assert report.missing == 0
    assert len(report.factors["loss"]["mse"]["mean"].gain_by_seed) == 1


def test_an_experiment_whose_predictions_were_not_copied_is_run_again(plan: Ablation) -> None:
    experiments = FakeExperiments(plan)
    run_missing(plan, experiments)
    level, seed = plan.trials[0]
    plan.predictions(level, seed).unlink()
    experiments.ran.clear()

    run_missing(plan, experiments)

    assert experiments.ran == ["default-s0"]


def test_the_version_depends_on_parameters_and_data_but_not_on_the_seed(plan: Ablation) -> None:
    params = plan.params.model_copy(update={"seed": 5})
    assert Ablation(plan.root, params, "text", setting={}, chosen=CHOSEN).version == plan.version

    tree = plan.params.model_copy(update={"threads": 2})
    assert Ablation(plan.root, tree, "text", setting={}, chosen=CHOSEN).version != plan.version
    (plan.root / "data.dvc").write_text("outs: [other]\n")
    assert Ablation(plan.root, params, "text", setting={}, chosen=CHOSEN).version != plan.version


def test_a_summary_without_a_finished_default_fails(plan: Ablation) -> None:
    with pytest.raises(MissingDataError, match="No trial of the default"):
        summarise(plan)
