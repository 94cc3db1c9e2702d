from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from polydistill.cli.app import app

ROOT = Path(__file__).parents[2]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from polydistill import cli; "
        "heavy = {'torch', 'transformers', 'mlflow', 'prefect', 'pandas', 'numpy'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("command", sorted(set(get_command(app).commands) - {"data"}))  # type: ignore[attr-defined]
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])

    assert result.exit_code == 0
    assert f"Example: polydistill {command}" in result.output


def test_an_unknown_teacher_is_one_line_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(app, ["embed", "text", "minilm-l5"])

    assert result.exit_code == 2
    assert "Did you mean 'minilm-l6'" in result.output


def test_no_data_is_said_with_what_to_do_and_exit_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(app, ["validate", "text"])

    assert result.exit_code == 3
    assert "dvc pull data.dvc" in result.output


def test_encode_refuses_an_output_that_is_no_npy(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("one\n", encoding="utf-8")

    result = CliRunner().invoke(
        app, ["encode", "models:/x@y", str(texts), "-o", str(tmp_path / "out.csv")]
    )

    assert result.exit_code == 2
    assert "must end in .npy" in result.output


def test_doctor_prints_json_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(app, ["doctor", "--json"])

    findings = {one["what"]: one for one in json.loads(result.output.splitlines()[0])["findings"]}
    assert findings["torch"]["ok"]
    assert not findings["data"]["ok"]
    assert "dvc pull data.dvc" in findings["data"]["advice"]
    assert result.exit_code == 1


@pytest.mark.parametrize("output", ["no/such/out.npy", "folder.npy"])
def test_encode_refuses_an_output_that_cannot_be_written_before_the_work(
    tmp_path: Path, output: str
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("one\n", encoding="utf-8")
    (tmp_path / "folder.npy").mkdir()

    result = CliRunner().invoke(
        app, ["encode", "models:/x@y", str(texts), "-o", str(tmp_path / output)]
    )

    assert result.exit_code in (2, 3)
    assert Path(output).name in result.output
