from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.config.params import Params, parse_params
from polydistill.errors import ParamsError, UnknownNameError
from polydistill.evaluation import hub_benchmarks
from polydistill.project.layout import Layout
from polydistill.stages.hub_benchmarks import evaluate_on_hub
from polydistill.students import STUDENTS
from tests.our_params import text_params

mteb = pytest.importorskip("mteb")


def params(**changes: Any) -> Params:
    tree = text_params()
    teachers = {"one": {"family": "hashing", "dim": 16}}
    tree["text"] |= {"tasks": {}, "teachers": teachers, "student": {"name": "bag-of-bytes", "dim": 8}}  # fmt: skip
    tree["text"] |= changes
    return parse_params(tree)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a student, where mteb knows one local task."""
    from mteb.mocks.mock_tasks.sts import MockSTSTask

    known = {"MockSTSTask": MockSTSTask()}
    monkeypatch.setattr(mteb, "get_task", lambda name: known[name])
    generator = torch.Generator().manual_seed(0)
    student = STUDENTS.get("bag-of-bytes").build([], generator, dim=8)
    student.save(Layout(tmp_path, "text").student)
    return tmp_path


def test_student_and_teacher_are_scored_and_results_are_kept(project: Path) -> None:
    found = evaluate_on_hub(project, params(), "text", ["MockSTSTask"], ["student", "one"])

    assert {model: list(by_task) for model, by_task in found.scores.items()} == {
        "student": ["MockSTSTask"],
        "one": ["MockSTSTask"],
    }
    results = Layout(project, "text").mteb_benchmarks / "results"
    assert sorted(path.parent.parent.name for path in results.glob("*/*/MockSTSTask.json")) == [
        "polydistill__one",
        "polydistill__student",
    ]


@pytest.mark.parametrize(
    ("modality", "models", "error", "said"),
    [
        ("vision", ["student"], ParamsError, "students of texts, got 'vision'"),
        ("text", ["two"], UnknownNameError, "Unknown model 'two'"),
        ("text", ["bm25"], ParamsError, "'bm25' is fitted to each of our tasks"),
    ],
)
def test_another_modality_or_model_is_refused(
    project: Path, modality: str, models: list[str], error: type[Exception], said: str
) -> None:
    block = params(evaluation={"rivals": ["bm25"]})

    with pytest.raises(error, match=said):
        evaluate_on_hub(project, block, modality, ["MockSTSTask"], models)


def test_a_table_of_embeddings_is_refused(project: Path) -> None:
    teachers = {"table": {"family": "precomputed", "folder": "x", "dim": 2}}

    with pytest.raises(ParamsError, match="'table' is a table of embeddings"):
        evaluate_on_hub(project, params(teachers=teachers), "text", ["MockSTSTask"], ["table"])


def test_models_without_tasks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(app, ["evaluate", "text", "--models", "student"])

    assert result.exit_code != 0
    assert "--tasks" in f"{result.output}{result.exception}"


def test_the_command_fails_if_a_task_has_no_score(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import polydistill.stages.hub_benchmarks as stage

    failed = hub_benchmarks.HubRun({"student": {"A": 0.5}}, {"student": {"B": "no network"}}, {})
    monkeypatch.setattr(stage, "evaluate_on_hub", lambda *_, **__: failed)

    result = CliRunner().invoke(app, ["evaluate", "text", "--tasks", "X"])

    assert result.exit_code == 5
    assert "student: no score on B: no network" in result.output
