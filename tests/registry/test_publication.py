from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from polydistill.config.params import load_params
from polydistill.integrations.dvc.stages import lock_entries
from polydistill.project.layout import Layout
from polydistill.registry.publication import (
    EVIDENCE,
    GROUPS,
    read_evidence,
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


def other_data(project: Path) -> None:
    path = project / "dvc.lock"
    lock = yaml.safe_load(path.read_text())
    lock["stages"]["distill@text"]["deps"][0]["md5"] = "another"
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
        (other_data, "distill used another data/text than was validated"),
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
