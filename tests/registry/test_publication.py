from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import yaml

from polydistill.config.params import load_params
from polydistill.errors import DataError
from polydistill.integrations.dvc.stages import lock_entries
from polydistill.project.layout import Layout
from polydistill.registry.evidence import task_examples
from polydistill.registry.publication import (
    EVIDENCE,
    GROUPS,
    read_evidence,
    read_groups,
    validated,
    write_evidence,
)
from tests.published_project import TEACHERS, make_evaluated_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_evaluated_project(tmp_path / "project")


def written(project: Path, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    layout = Layout(project, "text")
    write_evidence(folder, load_params(project), layout, lock_entries(project, "text"))
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_same_project_writes_the_same_bytes_without_a_path(
    project: Path, tmp_path: Path
) -> None:
    first, second = written(project, tmp_path / "a"), written(project, tmp_path / "b")

    assert first == second
    assert not any(str(tmp_path).encode() in content for content in first.values())


def test_what_is_written_is_what_the_gate_reads(project: Path, tmp_path: Path) -> None:
    written(project, tmp_path / "a")

    evidence = read_evidence(tmp_path / "a" / EVIDENCE)

    assert evidence.validation is not None
    assert evidence.validation.holds
    assert evidence.contamination is not None
    assert dict(evidence.contamination.tasks) == {"simlex": 0.0, "wordnet-lexfile": 0.0}
    assert evidence.licences is not None
    assert set(evidence.licences) >= set(TEACHERS)
    assert None not in evidence.licences.values()
    groups = pd.read_parquet(tmp_path / "a" / GROUPS).set_index(["task", "id"])["group"]
    assert groups["wordnet-lexfile", "e2"] == "pond 1"


def other_data(project: Path, stage: str = "evaluate") -> None:
    path = project / "dvc.lock"
    lock = yaml.safe_load(path.read_text())
    lock["stages"][f"{stage}@text"]["deps"][0]["md5"] = "another"
    path.write_text(yaml.safe_dump(lock))


def broken_rule(project: Path) -> None:
    path = Layout(project, "text").validation
    content = json.loads(path.read_text())
    content["rules"][0]["success"] = False
    path.write_text(json.dumps(content))


def no_validation(project: Path) -> None:
    Layout(project, "text").validation.unlink()


@pytest.mark.parametrize(
    ("damage", "because"),
    [
        (other_data, "evaluate used another data/text than was validated"),
        (partial(other_data, stage="distill"), "distill used another artifacts/text/corpus than"),
        (broken_rule, "is not what the validate stage wrote"),
        (no_validation, "the data was not validated"),
    ],
)
def test_a_validation_of_other_data_is_none(
    project: Path, damage: Callable[[Path], None], because: str
) -> None:
    damage(project)

    found = validated(Layout(project, "text"), lock_entries(project, "text"))

    assert not found.holds
    assert because in found.because


@pytest.mark.parametrize("content", [b"", b"PAR1", b"\xff" * 99, b"[[1]]"])
def test_damaged_groups_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "groups.parquet"
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"groups\.parquet is damaged: .*Publish the student again"):
        read_groups(path)


def test_groups_without_a_column_or_an_example_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "groups.parquet"
    pd.DataFrame({"task": ["a"], "id": ["1"]}).to_parquet(path)
    with pytest.raises(DataError, match="is damaged"):
        read_groups(path)

    rows = {"task": "a", "seed": 0, "model": "student", "target": "x", "score": 1.0}
    predictions = pd.DataFrame([{**rows, "example": "1"}, {**rows, "example": "2"}])
    groups = pd.DataFrame({"task": ["a"], "id": ["1"], "group": ["g"]})
    with pytest.raises(DataError, match="task 'a' that were published lack the example '2'"):
        task_examples(predictions, {"a": "classification"}, groups)
