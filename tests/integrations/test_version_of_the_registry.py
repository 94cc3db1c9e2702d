"""The commands that take a student together with its heads, given a version of the registry."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.config.params import load_params
from polydistill.integrations.mlflow.publish import publish
from polydistill.integrations.mlflow.store import connected
from polydistill.project.layout import Layout
from polydistill.stages.distill import distill
from polydistill.students import weights_digest
from tests.distill_project import make_distill_project, small_params
from tests.published_project import write_lock

CHALLENGER = "models:/student-text@challenger"


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `student` and `heads` that belong together."""
    root = tmp_path_factory.mktemp("version") / "distilled"
    layout = make_distill_project(root, rows=80)
    distill(root, small_params(rows=80, training={"epochs": 1}), "text")
    return layout.artifacts


@pytest.fixture
def published(evaluated: Path, distilled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project whose challenger is `distilled`, and whose own artifacts are gone."""
    layout = Layout(evaluated, "text")
    for part in ("student", "heads"):
        shutil.rmtree(layout.artifacts / part)
        shutil.copytree(distilled / part, layout.artifacts / part)
    digest = weights_digest(layout.student)
    told = json.loads(layout.distillation.read_text())
    layout.distillation.write_text(json.dumps({**told, "student_sha256": digest}))
    write_lock(evaluated)
    publish(evaluated, load_params(evaluated), "text")
    shutil.rmtree(layout.artifacts)
    (evaluated / "texts.txt").write_text("red cat runs quickly\ndog\n", encoding="utf-8")
    monkeypatch.chdir(evaluated)
    return evaluated


def predict(model: str, output: str, teacher: str = "first") -> tuple[int, str]:
    command = ["predict-teacher", "text", teacher, "texts.txt", "-o", output, "--model", model]
    result = CliRunner().invoke(app, [*command, "--json"])
    return result.exit_code, result.output


@pytest.mark.parametrize("model", [CHALLENGER, "models:/student-text/1"])
def test_a_registered_version_predicts_what_its_folder_predicts(
    published: Path, distilled: Path, model: str
) -> None:
    code, told = predict(model, "registered.npz")

    assert code == 0, told
    assert json.loads(told)["rows"] == 2
    assert predict(str(distilled), "folder.npz")[0] == 0
    with np.load("registered.npz") as found, np.load("folder.npz") as wanted:
        assert sorted(found) == sorted(wanted) == ["mean", "novelty", "std"]
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_a_version_whose_run_holds_no_heads_is_refused_and_nothing_is_written(
    published: Path,
) -> None:
    with connected(published) as client:
        run_id = client.get_model_version_by_alias("student-text", "challenger").run_id or ""
        artifacts = Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://"))
    shutil.rmtree(artifacts / "heads")

    code, told = predict(CHALLENGER, "out.npz")

    assert code == 3
    version = "models:/student-text/1"  # the one that the alias points to
    assert f"The run {run_id} of {version} holds no heads: publish the student again." in told
    assert not (published / "out.npz").exists()


def test_a_version_that_is_not_there_is_named(published: Path) -> None:
    code, told = predict("models:/student-text@champion", "out.npz")

    assert code == 3
    assert "No models:/student-text@champion" in told


def test_an_unknown_teacher_is_refused_with_those_of_the_version(published: Path) -> None:
    code, told = predict(CHALLENGER, "out.npz", "frist")

    assert code == 2
    assert "Did you mean 'first'" in told


def test_an_imported_version_is_the_one_of_the_registry(published: Path, distilled: Path) -> None:
    result = CliRunner().invoke(app, ["warm-start", "text", CHALLENGER, "--json"])

    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["student_sha256"] == weights_digest(distilled / "student")
