from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.errors import DataError, MissingDataError, StoreError
from polydistill.project.layout import Layout
from polydistill.stages.distill import distill
from polydistill.stages.import_version import import_version
from polydistill.training.warm_start import digest_of
from tests.distill_project import REPOSITORY, TEACHERS, make_distill_project, small_params


@pytest.fixture(scope="session")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    root = tmp_path_factory.mktemp("adoption") / "distilled"
    layout = make_distill_project(root, rows=80)
    distill(root, small_params(rows=80, training={"epochs": 1}), "text")
    return layout


@pytest.fixture
def source(distilled: Layout, tmp_path: Path) -> Path:
    for part in ("student", "heads"):
        shutil.copytree(distilled.artifacts / part, tmp_path / "source" / part)
    return tmp_path / "source"


def test_an_imported_version_is_stored_in_a_folder_named_after_its_content(
    source: Path, tmp_path: Path
) -> None:
    imported = import_version(tmp_path, "text", source)

    assert imported.sha256 == digest_of(source) == digest_of(imported.folder)
    assert imported.folder == tmp_path / "adopted" / "text" / imported.sha256[:16]
    assert imported.teachers == tuple(TEACHERS)
    assert imported.student_dim == 8
    card = json.loads((source / "heads" / "heads.json").read_text())
    assert imported.student_sha256 == card["student_sha256"]


def test_importing_twice_changes_nothing(source: Path, tmp_path: Path) -> None:
    first = import_version(tmp_path, "text", source)
    times = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")}

    second = import_version(tmp_path, "text", source)

    assert second == first
    assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")} == times


def test_a_damaged_copy_is_replaced(source: Path, tmp_path: Path) -> None:
    first = import_version(tmp_path, "text", source)
    (first.folder / "student" / "student.json").unlink()

    second = import_version(tmp_path, "text", source)

    assert digest_of(second.folder) == first.sha256


def test_one_byte_more_is_another_version(source: Path) -> None:
    before = digest_of(source)
    with (source / "student" / "student.json").open("a") as card:
        card.write("\n")

    assert digest_of(source) != before


@pytest.mark.parametrize("part", ["student", "heads"])
def test_a_folder_without_both_parts_is_refused(source: Path, tmp_path: Path, part: str) -> None:
    shutil.rmtree(source / part)

    with pytest.raises(MissingDataError, match=f"No {part} in .*student and heads"):
        import_version(tmp_path, "text", source)


def test_heads_of_another_student_are_refused(source: Path, tmp_path: Path) -> None:
    undistilled = source / "student" / "model.safetensors"
    content = bytearray(undistilled.read_bytes())
    content[-1] ^= 1
    undistilled.write_bytes(content)

    with pytest.raises(StoreError, match="take both from one run"):
        import_version(tmp_path, "text", source)


def test_heads_without_the_digest_of_their_student_are_refused(
    source: Path, tmp_path: Path
) -> None:
    path = source / "heads" / "heads.json"
    card = json.loads(path.read_text())
    del card["identities"]
    path.write_text(json.dumps(card))

    with pytest.raises(DataError, match="which weights teacher 'first' had.*Run the distill stage"):
        import_version(tmp_path, "text", source)


def test_the_command_prints_the_line_for_params_yaml(
    distilled: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(app, ["warm-start", "text", str(distilled.artifacts), "--json"])

    assert result.exit_code == 0, result.output
    printed = json.loads(result.output)
    assert printed["sha256"] == digest_of(tmp_path / printed["folder"])
    assert printed["pointer"] is None  # no DVC here


def test_the_command_refuses_a_folder_that_is_not_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(app, ["warm-start", "text", "nowhere"])

    assert result.exit_code == 3
    assert "No student in nowhere" in result.output
