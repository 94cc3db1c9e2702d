from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from polydistill.errors import ParamsError, StageError
from polydistill.integrations.dvc import stage_inputs
from polydistill.integrations.dvc.stage_inputs import STAGE_VARIABLE, stage_params, steady_inputs
from tests.our_params import text_params
from tests.toy_project import CONFIG, REPOSITORY, make_toy_project

STAGES = {
    "distill": {
        "foreach": "${enabled.modalities}",
        "do": {
            "cmd": f"{sys.executable} stage.py ${{item}}",
            "deps": ["src/room", "data"],
            "params": [{"params.resolved.yaml": ["seed", "${item}.rate"]}],
            "outs": ["student-${item}"],
        },
    },
    "embed": {
        "foreach": "${enabled.embed}",
        "do": {
            "cmd": "true",
            "deps": ["src/teachers/${item.module}.py"],
            "params": [{"params.resolved.yaml": ["threads"]}],
        },
    },
}
PARAMS = {
    "seed": 0,
    "threads": 1,
    "enabled": {
        "modalities": ["text"],
        "embed": {"text-one": {"modality": "text", "module": "hashing"}},
    },
    "text": {"rate": 1.0, "notify": "nobody"},
}
STAGE = """\
import sys
from pathlib import Path
from polydistill.integrations.dvc import stage_inputs
from polydistill.integrations.dvc.stage_inputs import steady_inputs

Path("runs.log").open("a").write("ran ")
with steady_inputs(Path()):
    Path("student-text").write_text(Path("params.resolved.yaml").read_text())
    if (edit := Path("edit.py")).exists():
        exec(edit.read_text())
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in {
        "dvc.yaml": yaml.safe_dump({"vars": ["params.resolved.yaml:enabled"], "stages": STAGES}),
        "params.resolved.yaml": yaml.safe_dump(PARAMS),
        "stage.py": STAGE,
        "data": "rows",
        "src/room/part.py": "ONE = 1\n",
        "src/teachers/hashing.py": "",
        ".dvc/config": CONFIG,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def change(project: Path, **params: object) -> None:
    tree = yaml.safe_load((project / "params.resolved.yaml").read_text(encoding="utf-8"))
    tree["text"] |= params
    (project / "params.resolved.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")


def repro(project: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", "distill@text"]
    return subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)


def test_what_was_edited_while_a_stage_ran_is_not_recorded_as_what_it_ran_with(
    project: Path,
) -> None:
    edit = "Path('params.resolved.yaml').write_text(Path('params.resolved.yaml').read_text().replace('1.0', '2.0'))"
    (project / "edit.py").write_text(edit, encoding="utf-8")

    failed = repro(project)
    (project / "edit.py").unlink()
    healed = repro(project)

    assert failed.returncode != 0
    assert (
        "params.resolved.yaml: text.rate changed while the stage 'distill@text' ran"
        in failed.stderr
    )
    assert healed.returncode == 0
    assert (project / "runs.log").read_text() == "ran ran "
    assert "rate: 2.0" in (project / "student-text").read_text()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("src/room/part.py", "src/room"),
        ("src/room/new.csv", "src/room"),
        ("src/room/__pycache__/part.pyc", None),
        ("src/other.py", None),
    ],
)
def test_only_code_that_the_stage_depends_on_counts(
    project: Path, monkeypatch: pytest.MonkeyPatch, path: str, told: str | None
) -> None:
    monkeypatch.setenv(STAGE_VARIABLE, "distill@text")

    def run() -> None:
        with steady_inputs(project):
            (project / path).parent.mkdir(exist_ok=True)
            (project / path).write_text("TWO = 2\n", encoding="utf-8")

    if told is None:
        run()
    else:
        with pytest.raises(StageError, match=f"^{told} changed while the stage 'distill@text' ran"):
            run()


def test_parameters_of_others_and_edits_that_are_taken_back_do_not_count(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STAGE_VARIABLE, "distill@text")

    with steady_inputs(project):
        change(project, notify="somebody", rate=2.0)
        change(project, rate=1.0)


def test_a_teachers_file_is_found_by_its_row(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STAGE_VARIABLE, "dvc.yaml:embed@text-one")

    with (
        pytest.raises(StageError, match=r"^src/teachers/hashing\.py changed"),
        steady_inputs(project),
    ):
        (project / "src/teachers/hashing.py").unlink()


def test_in_a_workspace_the_code_that_runs_counts_too(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    installed = tmp_path_factory.mktemp("installed") / "room"
    installed.mkdir()
    monkeypatch.setattr(stage_inputs, "PACKAGE", installed)
    monkeypatch.setenv(STAGE_VARIABLE, "distill@text")

    with pytest.raises(StageError, match=r"^src/room changed"), steady_inputs(project):
        (installed / "part.py").write_text("TWO = 2\n", encoding="utf-8")


@pytest.mark.parametrize("text", ["a: [", "{}", None])
def test_parameters_that_cannot_be_read_any_more_have_changed(
    project: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    monkeypatch.setenv(STAGE_VARIABLE, "embed@text-one")

    def run() -> None:
        with steady_inputs(project):
            (project / "params.resolved.yaml").unlink()
            if text is not None:
                (project / "params.resolved.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(StageError, match=r"^params\.resolved\.yaml: threads changed"):
        run()


def test_a_stage_refuses_settings_that_dvc_does_not_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_toy_project(tmp_path / "toy")
    monkeypatch.setenv(STAGE_VARIABLE, "distill@text")
    params = stage_params(root)
    (root / "params.yaml").write_text(yaml.safe_dump({**text_params(), "seed": 5}))

    with pytest.raises(ParamsError, match="run `polydistill params --write`"):
        stage_params(root)
    monkeypatch.delenv(STAGE_VARIABLE)
    by_hand = stage_params(root)

    assert (params.seed, by_hand.seed) == (0, 5)


def test_without_dvc_nothing_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STAGE_VARIABLE, raising=False)

    with steady_inputs(tmp_path):
        pass


def test_a_stages_own_error_is_not_hidden(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STAGE_VARIABLE, "distill@text")

    def run() -> None:
        with steady_inputs(project):
            change(project, rate=2.0)
            raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        run()


@pytest.mark.parametrize(
    "stage",
    [
        "fetch-data@text",
        "validate@vision",
        "embed@text-minilm-l6",
        "distill@molecules",
        "evaluate@text",
    ],
)
def test_the_code_and_parameters_of_every_kind_of_stage_are_found(stage: str) -> None:
    code, keys = stage_inputs._named(REPOSITORY, stage)
    values = stage_inputs._snapshot(REPOSITORY, code, keys)

    kind, _, item = stage.partition("@")
    own = "recipes" if kind == "fetch-data" else f"src/polydistill/stages/{kind}.py"
    assert own in code
    assert any(key.startswith(f"{item.partition('-')[0]}.") for key in keys)
    assert not any("$" in one for one in values)
