from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.integrations.dvc.stage_inputs import STAGE_VARIABLE
from tests.our_params import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["params", *words])
    return result.exit_code, result.output


def test_the_table_shows_values_bounds_and_units(project: Path) -> None:
    code, output = run("text")

    (line,) = (one for one in output.splitlines() if "corpus.rows" in one)
    assert code == 0
    assert line.split()[:5] == ["corpus.rows", "100000", "null", "≥", "1,"]
    assert "heads.covariance" in output  # a default of the plug-in itself
    assert "tasks.simlex" not in output


def test_all_shows_tasks_and_teachers_too(project: Path) -> None:
    _, output = run("text", "--all")

    assert "tasks.simlex.probe" in output


def test_json_has_every_value_of_every_modality(project: Path) -> None:
    code, output = run("--json")

    found = json.loads(output)
    assert code == 0
    assert found["vision.training.epochs"]["value"] == 12
    assert found["text.tasks.simlex.redistributable"]["is_set"]


def test_an_unknown_modality_gets_a_suggestion(project: Path) -> None:
    code, output = run("txet")

    assert code == 2
    assert "Did you mean 'text'" in output


def test_write_makes_what_check_asks_for(project: Path) -> None:
    before, (_, message) = run("--check"), run("--check")
    written, after = run("--write"), run("--check")

    assert (before[0], written[0], after[0]) == (2, 0, 0)
    assert "run `polydistill params --write`" in message


def test_under_dvc_a_new_embed_stage_is_an_error_once(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--write")
    monkeypatch.setenv(STAGE_VARIABLE, "params")
    tree = yaml.safe_load((project / "params.yaml").read_text())
    tree["text"]["teachers"]["e5-small"]["enabled"] = True
    (project / "params.yaml").write_text(yaml.safe_dump(tree))

    first, second = run("--write"), run("--write")

    assert (first[0], second[0]) == (5, 0)
    assert "Newly enabled: text-e5-small" in first[1]
