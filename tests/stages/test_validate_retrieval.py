"""Validation of retrieval tasks: roles, and an answer for each query."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from polydistill.config.params import load_params
from polydistill.errors import DataError, ValidationFailedError
from polydistill.stages.validate import validate
from tests.small_data import TEXT, PandasChecker, make_frames, write_project


def questions() -> pd.DataFrame:
    texts = [f"which river is the number {n}" for n in range(4)]
    texts += [f"this one is called number {n}" for n in range(5)]
    labels = [f"river {n}" for n in (0, 1, 2, 3, 0, 1, 2, 3, 4)]
    frame = pd.DataFrame({"text": texts, "label": labels, "group": labels})
    frame.insert(0, "id", [TEXT.content_id(text) for text in texts])
    return frame.assign(role=["query"] * 4 + ["corpus"] * 5)


def run(root: Path, frame: pd.DataFrame) -> int:
    write_project(root, make_frames())
    frame.to_parquet(root / "data" / "questions.parquet")
    tree = yaml.safe_load((root / "params.yaml").read_text("utf-8"))
    task = {"kind": "retrieval", "path": "data/questions.parquet", "domain": "in"}
    tree["text"]["tasks"] = {"questions": task}
    (root / "params.yaml").write_text(yaml.safe_dump(tree), "utf-8")
    return validate(root, load_params(root), "text", PandasChecker()).tables


def put(row: int, column: str, value: str | None) -> Callable[[pd.DataFrame], None]:
    def spoil(frame: pd.DataFrame) -> None:
        frame.loc[row, column] = value

    return spoil


def make_all(role: str) -> Callable[[pd.DataFrame], None]:
    def spoil(frame: pd.DataFrame) -> None:
        frame["role"] = role

    return spoil


def test_a_retrieval_task_with_an_answer_for_each_query_passes(tmp_path: Path) -> None:
    assert run(tmp_path, questions()) == 2


@pytest.mark.parametrize(
    ("spoil", "because", "row"),
    [
        (put(1, "role", "question"), "a role is neither query nor corpus", 1),
        (put(6, "role", None), "a role is missing", 6),
        (put(2, "label", "river 7"), "a query has no corpus row with its label", 2),
        (put(7, "role", "query"), "a query has no corpus row with its label", 3),
        (make_all("query"), "there are no query rows or no corpus rows", 0),
        (make_all("corpus"), "there are no query rows or no corpus rows", 0),
    ],
    ids=["unknown", "missing", "no answer", "its answer asks", "all ask", "none asks"],
)
def test_a_query_without_an_answer_is_refused_and_named(
    tmp_path: Path, spoil: Callable[[pd.DataFrame], None], because: str, row: int
) -> None:
    frame = questions()
    spoil(frame)

    with pytest.raises(ValidationFailedError) as refused:
        run(tmp_path, frame)

    message = str(refused.value).split("questions: ")
    finding = next(part for part in message if part.startswith(because))
    assert f"row {row}: id={frame.loc[row, 'id']!r}" in finding


def test_a_table_without_roles_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"questions.parquet must have a column 'role': query or"):
        run(tmp_path, questions().drop(columns="role"))
