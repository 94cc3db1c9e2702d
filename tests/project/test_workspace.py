from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from polydistill.config.params import is_resolved, load_params
from polydistill.errors import MissingDataError, ParamsError
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.processes import run_command
from polydistill.project.workspace import make_workspace
from tests.our_params import text_params
from tests.toy_project import make_toy_project

STAGES = """\
stages:
  count:
    cmd: mkdir -p artifacts && echo ran >> runs.log && wc -c < data/corpus.txt > artifacts/count
    deps: [data, src]
    params: [{params.resolved.yaml: [text.corpus.rows]}]
    outs: [artifacts/count]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with code and flows, whose data are only in the remote."""
    folder = make_toy_project(tmp_path / "project", STAGES)
    for file in ("src/pkg/code.py", "flows/flow.py", "src/pkg/__pycache__/code.pyc"):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(f"# {file}\n")
    (folder / ".dvcignore").write_text("**/__pycache__\n")
    (folder / "data.dvc").write_text("outs:\n- md5: 0.dir\n  path: data\n")
    return folder


def save_data(project: Path, text: str) -> None:
    """Version data as in a fresh clone: they are in the remote, and not in the cache."""
    (project / "data.dvc").unlink(missing_ok=True)
    (project / "data").mkdir(exist_ok=True)
    (project / "data" / "corpus.txt").write_text(text)
    config = (project / ".dvc" / "config").read_text().partition("['remote")[0]
    remote = "['remote \"store\"']\n    url = ../.dvcstore\n"
    config = config.replace("[core]\n", "[core]\n    remote = store\n", 1)
    (project / ".dvc" / "config").write_text(config + remote)
    for arguments in (["add", "data"], ["push", "data.dvc"]):
        assert run_command([*dvc.DVC, *arguments], project, timeout_s=60).exit_code == 0
    shutil.rmtree(project / ".dvc" / "cache")


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".polydistill" not in path.parts and ".dvc/tmp" not in str(path)
    }


def test_a_run_in_a_workspace_does_not_change_the_project_and_is_not_repeated(
    project: Path,
) -> None:
    save_data(project, "a text\n")
    before = everything(project)

    workspace = make_workspace(project, "quick", {"text.corpus.rows": 5})
    dvc.sync_data(workspace)
    first = dvc.reproduce(workspace, "count")
    make_workspace(project, "quick", {"text.corpus.rows": 5})
    second = dvc.reproduce(workspace, "count")

    after = {
        name: content
        for name, content in everything(project).items()
        if not name.startswith(".dvc/cache")
    }
    assert (first.state, second.state) == ("ran", "unchanged")
    assert (workspace / "artifacts" / "count").read_text().strip() == "7"
    assert after == before
    assert (project / ".dvc" / "cache").exists()
    assert not (workspace / ".dvc" / "cache").exists()


def test_another_version_of_the_data_is_fetched(project: Path) -> None:
    save_data(project, "a text\n")
    workspace = make_workspace(project, "quick", {})
    dvc.sync_data(workspace)
    (project / ".dvc" / "config").write_text(
        (project / ".dvc" / "config").read_text().replace("    remote = store\n", "")
    )
    save_data(project, "a longer text\n")

    make_workspace(project, "quick", {})
    assert not (workspace / "data").exists()
    dvc.sync_data(workspace)

    assert (workspace / "data" / "corpus.txt").read_text() == "a longer text\n"


def test_an_update_keeps_the_data_and_lock_of_a_workspace_with_its_own_data(project: Path) -> None:
    (project / "dvc.lock").write_text("schema: '2.0'\n")
    workspace = make_workspace(project, "nightly", {}, own_data=True)
    assert (workspace / "data.dvc").read_bytes() == (project / "data.dvc").read_bytes()
    assert (workspace / "dvc.lock").read_bytes() == (project / "dvc.lock").read_bytes()
    (workspace / "data.dvc").write_text("outs:\n- md5: 1.dir\n  path: data\n")
    (workspace / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    (workspace / "data").mkdir()
    (project / "data.dvc").write_text("outs:\n- md5: 2.dir\n  path: data\n")
    (project / "src/pkg/code.py").write_text("# newer\n")

    make_workspace(project, "nightly", {}, own_data=True)

    assert "1.dir" in (workspace / "data.dvc").read_text()
    assert "stages" in (workspace / "dvc.lock").read_text()
    assert (workspace / "data").is_dir()
    assert (workspace / "src/pkg/code.py").read_text() == "# newer\n"
    assert "2.dir" in (project / "data.dvc").read_text()


def test_overrides_are_set_and_none_becomes_null(project: Path) -> None:
    overrides = {
        "text.corpus.rows": 2000,
        "text.teachers.glove-50d.enabled": False,
        "text.gate.max_size_mb": None,
        "seed": 3,
    }

    params = load_params(make_workspace(project, "quick", overrides))

    assert (params.modality("text").corpus.rows, params.seed) == (2000, 3)
    assert list(params.enabled_teachers("text")) == ["minilm-l6"]
    assert params.modality("text").gate.max_size_mb is None
    assert "glove-50d" in load_params(project).enabled_teachers("text")


def test_none_removes_an_option_of_a_plug_in(project: Path) -> None:
    params = load_params(make_workspace(project, "quick", {"text.heads.mean_rank": None}))

    assert "mean_rank" not in params.modality("text").heads.options


def test_a_mapping_can_be_an_override(project: Path) -> None:
    params = load_params(make_workspace(project, "quick", {"text.loss": {"name": "mse"}}))

    assert params.modality("text").loss.name == "mse"


def test_dvc_finds_the_effective_settings_of_a_workspace(project: Path) -> None:
    workspace = make_workspace(project, "quick", {"seed": 3})

    assert is_resolved(workspace, load_params(workspace))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"text.corpus.row": 5}, "row.*Did you mean 'rows'"),
        ({"text.corpsu.rows": 5}, "corpsu.*Did you mean 'corpus'"),
        ({"seeds": 5}, "seeds.*Did you mean 'seed'"),
        ({"text.teachers.glove.enabled": False}, "glove.*Did you mean 'glove-50d'"),
        ({"text.corpus.rows": 0}, "text.corpus.rows"),
    ],
)
def test_an_invalid_override_is_refused_and_nothing_is_written(
    project: Path, overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(ParamsError, match=message):
        make_workspace(project, "quick", overrides)

    assert not (project / ".polydistill").exists()


def test_an_update_of_the_code_writes_only_changed_files(project: Path) -> None:
    (project / "src/pkg/old.py").write_text("# old\n")
    workspace = make_workspace(project, "quick", {})
    untouched = (workspace / "flows/flow.py").stat().st_mtime_ns
    (project / "src/pkg/old.py").unlink()
    (project / "src/pkg/code.py").write_text("# changed\n")

    make_workspace(project, "quick", {})

    assert (workspace / "src/pkg/code.py").read_text() == "# changed\n"
    assert not (workspace / "src/pkg/old.py").exists()
    assert not (workspace / "src/pkg/__pycache__").exists()
    assert (workspace / "flows/flow.py").stat().st_mtime_ns == untouched


@pytest.mark.parametrize("name", ["", "../quick", "Quick", "a b"])
def test_an_unsafe_workspace_name_is_refused(project: Path, name: str) -> None:
    with pytest.raises(ParamsError, match="workspace's name"):
        make_workspace(project, name, {})


def test_a_folder_without_a_project_is_refused(tmp_path: Path) -> None:
    tree = text_params()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree))

    with pytest.raises(MissingDataError, match="No flows in"):
        make_workspace(tmp_path, "quick", {})


def test_files_outside_data_that_the_settings_name_are_found_in_a_workspace(project: Path) -> None:
    (project / "mine").mkdir()
    (project / "mine" / "corpus.txt").write_text("one\n")
    (project / "artifacts").mkdir()

    overrides = {"text.corpus.path": "mine/*.txt", "text.student": {"name": "artifacts"}}
    folder = make_workspace(project, "quick", overrides)
    again = make_workspace(project, "quick", overrides)

    assert folder == again
    assert (folder / "mine" / "corpus.txt").read_text() == "one\n"
    assert not (folder / "artifacts").exists()
