from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.config.params import load_params
from polydistill.errors import MissingDataError, ParamsError, StageError
from polydistill.integrations.mlflow import stamp as mlflow_stamp
from polydistill.integrations.mlflow.publish import publish
from polydistill.integrations.mlflow.store import connected
from polydistill.integrations.reproduction import PLACES, other_packages, reproduce_version
from tests.versioned_project import git, make_versioned_project

CHALLENGER = "models:/student-text@challenger"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Path]:
    """A project whose student is published from a clean commit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = make_versioned_project(tmp_path_factory.mktemp("versioned") / "project")
        patch.setattr(mlflow_stamp, "PACKAGE", root / "src" / "polydistill")
        (root / "mlruns").mkdir()
        shutil.copy(empty_database, root / "mlruns" / "mlflow.db")
        published = publish(root, load_params(root), "text")
        assert published.reasons == ()
        assert published.reproducible
        yield root


@pytest.fixture
def restored(project: Path) -> Iterator[Path]:
    """The project, whose files and tags are as before afterwards."""
    yield project
    git(project, "checkout", "--quiet", "--", ".")
    attach(project, project / "params.yaml")
    tag(project, mlflow_stamp.REPRODUCIBLE, "true")
    tag(project, mlflow_stamp.COMMIT, git(project, "rev-parse", "HEAD"))


def attach(root: Path, file: Path) -> None:
    with connected(root) as client:
        run_id = client.get_model_version("student-text", "1").run_id
        client.log_artifact(run_id, str(file), mlflow_stamp.ATTACHED)


def tag(root: Path, name: str, value: str) -> None:
    with connected(root) as client:
        client.set_model_version_tag("student-text", "1", name, value)


def test_a_version_names_its_commit_its_data_and_its_files(project: Path) -> None:
    with connected(project) as client:
        tags = client.get_model_version("student-text", "1").tags

    pointer = yaml.safe_load((project / "data.dvc").read_text())
    assert tags["reproducible"] == "true"
    assert "reproducible_reason" not in tags
    assert tags["git_commit"] == git(project, "rev-parse", "HEAD")
    assert tags["data_md5"] == pointer["outs"][0]["md5"]
    assert tags["attached_files"].split() == [
        f"project/{name}"
        for name in ("params.yaml", "data.dvc", "dvc.lock", "dvc.yaml", "params.resolved.yaml")
    ]
    assert len([*(project / ".dvcstore").rglob("*.dir")]) == 1


def test_the_bytes_are_identical_though_the_working_tree_has_moved_on(restored: Path) -> None:
    code = restored / "src" / "toy.py"
    code.write_text(code.read_text().replace("SCALE = 1.0", "SCALE = 2.0"))
    (restored / "params.yaml").write_text("seed: nonsense\n")
    cache, runs = files(restored / ".dvc" / "cache"), files(restored / "mlruns")

    report = reproduce_version(restored, CHALLENGER)

    assert report.comparison.outcome == "identical bytes"
    assert [state.state for state in report.stages] == ["ran"] * 3
    assert all(report.same_outputs.values())
    assert report.place is None
    assert not (restored / PLACES).exists()
    assert "reproductions" not in git(restored, "worktree", "list")
    assert files(restored / ".dvc" / "cache") == cache
    assert files(restored / "mlruns") == runs


def test_another_seed_is_told_as_different_with_every_figure_and_exit_1(
    restored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = yaml.safe_load((restored / "params.yaml").read_text())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**tree, "seed": 1}))
    attach(restored, tmp_path / "params.yaml")
    monkeypatch.chdir(restored)

    result = CliRunner().invoke(app, ["reproduce", CHALLENGER, "--reuse-embeddings", "--json"])

    report = json.loads(result.stdout)
    place = Path(report["place"])
    scores = json.loads((place / "reports/text/scores.json").read_text())
    published = json.loads((restored / "reports/text/scores.json").read_text())
    by_metric = {one["metric"]: one for one in report["comparison"]["differences"]}
    one = by_metric["scores/student/sts/simlex"]
    assert result.exit_code == 1
    assert report["comparison"]["outcome"] == "different"
    assert not report["comparison"]["student_identical"]
    assert {state["stage"]: state["state"] for state in report["stages"]} == {
        "embed@text-glove-50d": "restored",
        "distill@text": "ran",
        "evaluate@text": "ran",
    }
    assert report["same_outputs"]["embed@text-glove-50d"]
    assert one["published"] == published["student"]["sts"]["simlex"]
    assert one["reproduced"] == scores["student"]["sts"]["simlex"]
    assert "held_out/glove-50d" in by_metric
    git(restored, "worktree", "remove", "--force", str(place))


def test_a_version_that_carries_nothing_or_is_marked_is_refused_with_the_reason(
    restored: Path,
) -> None:
    tag(restored, "reproducible", "false")
    tag(restored, "reproducible_reason", "code: not as in commit 0123: src/x.py")
    with pytest.raises(MissingDataError, match="not reproducible: code: not as in commit 0123"):
        reproduce_version(restored, "models:/student-text/1")

    with connected(restored) as client:
        client.delete_model_version_tag("student-text", "1", "reproducible")
    with pytest.raises(MissingDataError, match="published by an earlier release"):
        reproduce_version(restored, "models:/student-text/1")


def test_a_commit_that_the_clone_does_not_have_is_told_before_anything_is_made(
    restored: Path,
) -> None:
    tag(restored, "git_commit", "0" * 40)
    before = set((restored / PLACES).glob("*"))

    with pytest.raises(MissingDataError, match="git fetch"):
        reproduce_version(restored, CHALLENGER)

    assert set((restored / PLACES).glob("*")) == before


def test_data_that_no_remote_has_is_told_and_the_place_kept(restored: Path, tmp_path: Path) -> None:
    pointer = yaml.safe_load((restored / "data.dvc").read_text())
    pointer["outs"][0]["md5"] = "0" * 32 + ".dir"
    (tmp_path / "data.dvc").write_text(yaml.safe_dump(pointer))
    attach(restored, tmp_path / "data.dvc")

    with pytest.raises(MissingDataError, match=r"neither in\s+DVC's cache") as caught:
        reproduce_version(restored, CHALLENGER)

    place = Path(str(caught.value).rsplit(" is kept in ", 1)[1].removesuffix("."))
    assert place.exists()
    git(restored, "worktree", "remove", "--force", str(place))
    attach(restored, restored / "data.dvc")


def test_a_stage_that_fails_keeps_its_exit_code(restored: Path, tmp_path: Path) -> None:
    stages = (restored / "dvc.yaml").read_text().replace("toy distill", "toy nothing")
    (tmp_path / "dvc.yaml").write_text(stages)
    attach(restored, tmp_path / "dvc.yaml")

    with pytest.raises(StageError, match="distill@text failed") as caught:
        reproduce_version(restored, CHALLENGER, reuse_embeddings=True)

    place = Path(str(caught.value).rsplit(" is kept in ", 1)[1].removesuffix("."))
    assert place.exists()
    git(restored, "worktree", "remove", "--force", str(place))
    attach(restored, restored / "dvc.yaml")


@pytest.mark.parametrize("uri", ["student-text", "runs:/1/model", "models:/student-text"])
def test_what_is_no_version_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ParamsError, match="models:/student-text@champion"):
        reproduce_version(tmp_path, uri)


def test_packages_at_other_versions_than_the_lock_are_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("# by uv\npytest==0.1\nno-such-package==1.0\n")

    (found,) = other_packages(lock)

    assert found.startswith(f"pytest 0.1 → {pytest.__version__}")
    assert other_packages(tmp_path / "none") == ()


def files(folder: Path) -> dict[str, int]:
    """Return the files of a folder, without those that SQLite touches when it only reads."""
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and "mlflow.db" not in path.name
    }
