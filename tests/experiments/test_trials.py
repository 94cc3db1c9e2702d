from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from experiments.method_comparison import NAME, method_trials
from experiments.methods import chosen_methods
from experiments.trials import TrialStore
from polydistill.config.overrides import changed
from polydistill.config.params import Params
from polydistill.project.layout import Layout
from tests.comparison_project import COMPUTED, add_rivals, make_comparison_project


@pytest.fixture
def params(tmp_path: Path) -> Params:
    make_comparison_project(tmp_path)
    return add_rivals(tmp_path)


def scored(root: Path, params: Params) -> dict[str, set[str]]:
    """Return the models that each trial scores."""
    methods = chosen_methods(params, "text", ["mse"])
    trials = method_trials(root, params, "text", methods, seeds=(0, 1))
    return {trial.label: set(trial.models) for trial in trials}


def folders(root: Path, params: Params) -> dict[str, str]:
    """Return the name of each trial's folder, which contains its key."""
    store, methods = TrialStore(root, "text", NAME), chosen_methods(params, "text", ["mse"])
    trials = method_trials(root, params, "text", methods, seeds=(0, 1))
    return {trial.label: store.folder(trial).name for trial in trials}


def test_the_first_trial_of_the_default_scores_teachers_and_rivals(
    tmp_path: Path, params: Params
) -> None:
    students = {"student", "undistilled"}

    assert scored(tmp_path, params) == {
        "default, seed 0": students | {"first", "second", "other", *COMPUTED},
        "mse, seed 0": {"student"},
        "default, seed 1": students,
        "mse, seed 1": {"student"},
    }


def test_a_rival_that_could_not_be_fetched_is_left_out(tmp_path: Path, params: Params) -> None:
    note = Layout(tmp_path, "text").unavailable("other")
    shutil.rmtree(note.parent)
    note.parent.mkdir()
    note.write_text(json.dumps({"reason": "no network"}), encoding="utf-8")

    assert "other" not in scored(tmp_path, params)["default, seed 0"]
    assert folders(tmp_path, params)


def test_only_the_trial_that_scores_the_rivals_depends_on_them(
    tmp_path: Path, params: Params
) -> None:
    before = folders(tmp_path, params)
    fewer = folders(tmp_path, changed(params, {"text.evaluation.rivals": ["bm25"]}))
    layout = Layout(tmp_path, "text")
    shutil.rmtree(layout.embeddings("benchmark", "other"))
    shutil.copytree(
        layout.embeddings("benchmark", "second"), layout.embeddings("benchmark", "other")
    )
    other = folders(tmp_path, params)

    for after in (fewer, other):
        assert [label for label in before if after[label] != before[label]] == ["default, seed 0"]


def test_the_code_of_a_computed_rival_is_in_the_key(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, hashed = folders(tmp_path, params), list[str]()

    def code_version(modules: list[str], _without: object) -> str:
        hashed.extend(modules)
        return "other code"

    monkeypatch.setattr("experiments.trials.code_version", code_version)
    after = folders(tmp_path, params)

    assert "polydistill.evaluation.rivals.tfidf_svd" in hashed
    assert [label for label in before if after[label] != before[label]] == ["default, seed 0"]
