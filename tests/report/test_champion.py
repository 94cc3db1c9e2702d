from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from polydistill.config.params import resolved_text
from polydistill.errors import DataError
from polydistill.report.champion import Change, changes, comparable, read_champion
from polydistill.report.gate import DASH
from tests.report.example_run import example_params, write_run


def keep_champion(root: Path, **distillation: int) -> None:
    """Write the kept files of a champion that was trained with `example_params`, and `data.dvc` of both."""
    layout = write_run(root)
    attached = layout.champion / "project"
    attached.mkdir(parents=True)
    content = json.loads(layout.distillation.read_text()) | distillation
    (layout.champion / "distill.json").write_text(json.dumps(content))
    (layout.champion / "version.json").write_text(json.dumps({"version": 3}))
    rows = {
        "task": "simlex",
        "example": ["a", "b"],
        "model": "student",
        "target": "1",
        "score": 0.5,
    }
    pd.DataFrame(rows).to_parquet(layout.champion / "predictions.parquet")
    (attached / "params.resolved.yaml").write_text(resolved_text(example_params()))
    data = yaml.safe_dump({"outs": [{"md5": "aa" * 16, "path": "data"}]})
    (attached / "data.dvc").write_text(data)
    (root / "data.dvc").write_text(data)


def found(root: Path, **settings: object) -> list[Change]:
    layout = write_run(root)
    champion = read_champion(layout)
    assert champion is not None
    distillation = json.loads(layout.distillation.read_text())
    return changes(champion, example_params(**settings), layout, distillation)


def test_without_a_difference_there_is_no_change(tmp_path: Path) -> None:
    keep_champion(tmp_path)

    assert found(tmp_path) == []


def test_only_differences_of_data_teachers_training_and_settings_are_changes(
    tmp_path: Path,
) -> None:
    keep_champion(tmp_path, n_train=19_000)
    (tmp_path / "data.dvc").write_text(yaml.safe_dump({"outs": [{"md5": "bb" * 16}]}))
    teachers = {
        "minilm-l6": {"family": "hashing", "dim": 16},
        "use-m3": {"family": "hashing", "dim": 8, "enabled": False},
        "paraphrase-l3": {"family": "hashing", "dim": 8},
        "glove-50d": {"family": "hashing", "dim": 8},
        "new": {"family": "hashing", "dim": 8},
    }

    rows = found(tmp_path, teachers=teachers, loss={"name": "mse"}, gate={"min_gain": 0.5})

    assert {(one.about, one.name, one.before, one.after) for one in rows} == {
        ("data", "hash of data.dvc", "aa" * 6, "bb" * 6),
        ("data", "training rows", "19,000", "22,800"),
        ("teachers", "use-m3", "learnt from", DASH),
        ("teachers", "new", DASH, "learns from"),
        ("teachers", "minilm-l6.dim", "8", "16"),
        ("settings", "loss.name", "gaussian-nll", "mse"),
    }


def test_settings_that_were_not_published_are_not_compared(tmp_path: Path) -> None:
    keep_champion(tmp_path)
    shutil.rmtree(write_run(tmp_path).champion / "project")

    assert found(tmp_path, loss={"name": "mse"}) == []


def test_only_tasks_with_the_same_examples_and_targets_can_be_compared() -> None:
    theirs = pd.DataFrame(
        {
            "task": ["one", "one", "two", "two"],
            "example": ["a", "b", "c", "d"],
            "model": "student",
            "target": "1",
            "score": 0.5,
        }
    )
    ours = theirs.assign(target=["1", "1", "1", "2"])

    assert comparable(theirs, ours)["task"].unique().tolist() == ["one"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    keep_champion(tmp_path)
    layout = write_run(tmp_path)
    (layout.champion / "predictions.parquet").write_bytes(b"not parquet")

    with pytest.raises(DataError, match=r"text-champion is damaged: .*Run promote again"):
        read_champion(layout)
