from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.stages.comparison import compare_models
from polydistill.students.bag_of_bytes import BagOfBytesStudent
from tests.comparison_project import make_comparison_project

pytest.importorskip("mteb")


def test_a_student_is_compared_with_a_teacher_on_every_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = make_comparison_project(tmp_path)
    bundle, page = tmp_path / "bundle", tmp_path / "compared.html"
    BagOfBytesStudent.build([], torch.Generator().manual_seed(0), dim=8).save(bundle)

    found = compare_models(tmp_path, params, "text", {"bundle": bundle, "first": None})

    assert [row.name for row in found.tasks] == list(params.modality("text").tasks)
    for row in (*found.tasks, *found.kinds):
        change = row.differences["first"]
        assert change.mean == pytest.approx(row.score - row.scores["first"])
        assert change.low <= change.mean <= change.high
    monkeypatch.chdir(tmp_path)
    command = ["compare", "text", "bundle", "first", "--page", str(page), "--json"]
    answer = CliRunner().invoke(app, command, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    rows = json.loads(answer.stdout)["tasks"]
    assert [row["task"] for row in rows] == [row.name for row in found.tasks]
    assert rows[0]["difference"] == pytest.approx(found.tasks[0].differences["first"].mean)
    assert {"p", "verdict", "low", "high", "n", "score", "baseline"} <= rows[0].keys()
    html = page.read_text(encoding="utf-8")
    assert "<h1>bundle against first</h1>" in html
    assert all(f'id="tasks-{row.name}"' in html for row in found.tasks)


def test_a_model_is_not_compared_with_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_comparison_project(tmp_path)
    monkeypatch.chdir(tmp_path)

    answer = CliRunner().invoke(app, ["compare", "text", "first", "first"])

    assert answer.exit_code != 0
    assert "Two different models" in answer.output


def test_a_folder_is_not_compared_with_itself_under_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_comparison_project(tmp_path)
    BagOfBytesStudent.build([], torch.Generator().manual_seed(0), dim=8).save(tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)

    answer = CliRunner().invoke(app, ["compare", "text", "bundle", "./bundle/"])

    assert answer.exit_code != 0
    assert "Two different models" in answer.output


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("firs", "Unknown folder of a student or enabled teacher 'firs'. Did you mean 'first'?"),
        ("empty", "No student in empty"),
    ],
)
def test_a_model_that_is_missing_is_named_before_anything_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    make_comparison_project(tmp_path)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)

    answer = CliRunner().invoke(app, ["compare", "text", "first", name])

    assert answer.exit_code != 0
    assert said in " ".join(answer.output.split())
    assert "evaluate first" not in answer.output
