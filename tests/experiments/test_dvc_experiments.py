from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from experiments.ablation_grid import Ablation, prepare_workspace, run_missing, summarise
from experiments.dvc_experiments import DvcExperiments
from polydistill.config.params import write_resolved
from polydistill.errors import StageError
from tests.comparison_project import make_comparison_project
from tests.toy_project import REPOSITORY, SHORT, make_toy_project

pytest.importorskip("dvc")

POLYDISTILL = Path(sys.executable).with_name("polydistill")
STAGE = f"""\
vars: ["params.resolved.yaml:enabled"]
stages:
  params:
    cmd: {POLYDISTILL} params --write
    deps: [params.yaml]
    outs: [params.resolved.yaml: {{cache: false, persist: true}}]
  distill:
    foreach: ${{enabled.modalities}}
    do:
      cmd: mkdir -p artifacts && cp params.resolved.yaml artifacts/student
      params: [params.resolved.yaml: [seed, "enabled.teachers.${{item}}", "${{item}}.loss"]]
      outs: [artifacts/student]
"""


@pytest.mark.slow
def test_an_experiment_changes_adds_and_removes_parameters_and_keeps_the_baseline(
    tmp_path: Path,
) -> None:
    root = make_toy_project(tmp_path / "toy", SHORT)
    (root / "dvc.yaml").write_text(STAGE)
    (root / ".gitignore").write_text("/artifacts\n")
    experiments = DvcExperiments(root)
    experiments.begin()
    experiments.commit("Baseline")
    before = (root / "params.yaml").read_text()
    changes = {
        "seed": 7,
        "text.loss.name": "mse",
        "text.loss.extra": 0.5,
        "text.teachers.glove-50d": None,
    }

    experiments.run("first-s7", changes, "distill@text")
    made = yaml.safe_load((root / "artifacts" / "student").read_text())
    with pytest.raises(StageError, match="'second' failed"):
        experiments.run("second", {}, "nothing@text")

    assert made["seed"] == 7
    assert made["text"]["loss"] == {"name": "mse", "extra": 0.5}
    assert made["enabled"]["teachers"]["text"] == ["minilm-l6"]
    assert experiments.names() == {"first-s7"}
    experiments.restore()
    assert (root / "params.yaml").read_text() == before
    experiments.remove("first-s7")
    assert experiments.names() == set()


@pytest.mark.slow
def test_a_trial_of_the_ablation_is_a_dvc_experiment(tmp_path: Path) -> None:
    pytest.importorskip("mteb")
    root = tmp_path / "project"
    params = make_comparison_project(root)
    for folder in ("src", "flows", "recipes"):
        shutil.copytree(
            REPOSITORY / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copyfile(REPOSITORY / file, root / file)
    write_resolved(root, params)
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text(
        "[core]\n    no_scm = true\n    remote = store\n['remote \"store\"']\n    url = ../store\n"
    )
    for command in (["add", "data"], ["push", "data.dvc"]):
        subprocess.run([sys.executable, "-m", "dvc", "--quiet", *command], cwd=root, check=True)
    plan = Ablation(root, params, "text", setting={}, seeds=(0,), chosen=("default", "teachers-1"))

    experiments = DvcExperiments(prepare_workspace(plan))
    failed = run_missing(plan, experiments)

    assert failed == []
    assert experiments.names() == {"default-s0", "teachers-1-s0"}
    assert plan.missing == []
    assert summarise(plan, failed).factors["teachers"]["first"]["mean"].gain is not None
    shown = experiments._dvc("exp", "show", "--json")
    assert "teachers-1-s0" in shown
    assert "reports/text/scores.json" in shown
