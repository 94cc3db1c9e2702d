from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from polydistill.integrations import git
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.dvc.stages import lock_entries
from polydistill.integrations.mlflow import stamp
from polydistill.integrations.mlflow.stamp import Provenance, examine
from polydistill.project.workspace import make_workspace, project_of
from tests.versioned_project import call_dvc, make_versioned_project
from tests.versioned_project import git as call_git


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_versioned_project(tmp_path_factory.mktemp("versioned") / "project")


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a project that was run from a clean commit, with its own code installed."""
    folder = tmp_path / "project"
    shutil.copytree(original, folder, symlinks=True)
    monkeypatch.setattr(stamp, "PACKAGE", folder / "src" / "polydistill")
    return folder


def examined(root: Path) -> Provenance:
    return examine(root, lock_entries(root, "text"))


def test_a_clean_run_is_reproducible_and_its_data_is_in_the_remote(project: Path) -> None:
    found = examined(project)

    assert found.reasons == ()
    assert found.commit == call_git(project, "rev-parse", "HEAD")
    assert len([*(project / ".dvcstore").rglob("*.dir")]) == 1


def test_a_workspace_is_reproducible_by_its_projects_commit_and_leaves_git_alone(
    project: Path,
) -> None:
    before = call_git(project, "status", "--porcelain"), call_git(project, "rev-parse", "HEAD")
    workspace = make_workspace(project, "quick", {"seed": 7})
    dvc.sync_data(workspace)
    call_dvc(workspace, "repro")

    found = examined(workspace)

    after = call_git(project, "status", "--porcelain"), call_git(project, "rev-parse", "HEAD")
    assert found.reasons == ()
    assert found.commit == before[1]
    assert project_of(workspace) == project.resolve()
    assert after == before


def test_changed_added_and_missing_code_is_named(project: Path) -> None:
    (project / "flows" / "retrain.py").write_text("# changed\n")
    (project / "src" / "added.py").write_text("# new\n")
    (project / "src" / "polydistill" / "contracts.py").unlink()
    (project / "src" / "__pycache__").mkdir(exist_ok=True)
    (project / "src" / "__pycache__" / "x.pyc").write_text("no code")

    found = git.code_differences(
        project,
        call_git(project, "rev-parse", "HEAD"),
        {project / place: place for place in git.CODE},
    )

    assert found == ["flows/retrain.py", "src/added.py", "src/polydistill/contracts.py"]


def test_code_that_runs_from_elsewhere_must_be_the_commits(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages" / "polydistill"
    shutil.copytree(project / "src" / "polydistill", installed)
    monkeypatch.setattr(stamp, "PACKAGE", installed)
    same = examined(project).reasons
    (installed / "evaluation" / "encoder.py").write_text("# patched\n")

    (reason,) = examined(project).reasons

    assert same == ()
    assert reason.startswith("code: not as in commit ")
    assert reason.endswith(": src/polydistill/evaluation/encoder.py")


def test_a_plain_folder_says_that_it_has_no_commit(project: Path) -> None:
    shutil.rmtree(project / ".git")

    assert "code: no git repository with a commit" in examined(project).reasons


def test_data_that_only_this_machine_has_is_told(project: Path) -> None:
    (project / ".dvc" / "config").write_text("[core]\n    analytics = false\n    no_scm = true\n")

    assert examined(project).reasons == ("data: no DVC remote (`dvc remote add --default`)",)


def test_a_push_that_fails_is_told_with_what_dvc_said(project: Path) -> None:
    shutil.rmtree(project / ".dvcstore", ignore_errors=True)
    (project / ".dvcstore").write_text("a file stands in the way")

    found = examined(project)

    assert found.reasons == ("data: the push to DVC's remote failed",)
    assert "dvc push data.dvc" in found.detail


def test_data_that_was_edited_since_is_told(project: Path) -> None:
    pointer = (project / "data.dvc").read_text()
    md5 = dvc.data_hash(project)
    (project / "data.dvc").write_text(pointer.replace(md5, "0" * 32 + ".dir"))

    assert any("other data than data.dvc" in reason for reason in examined(project).reasons)


def test_results_of_other_parameters_than_these_are_told(project: Path) -> None:
    params = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(params.replace("seed: 0", "seed: 5"))

    (reason,) = examined(project).reasons

    assert reason == "stages: not up to date: distill@text (`dvc repro`)"
