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


def run(root: Path, frame: pd.DataFrame, kind: str = "retrieval") -> int:
    write_project(root, make_frames())
    frame.to_parquet(root / "data" / "questions.parquet")
    tree = yaml.safe_load((root / "params.yaml").read_text("utf-8"))
    task = {"kind": kind, "path": "data/questions.parquet", "domain": "in"}
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
        (put(2, "label", None), "a label is missing", 2),
        (put(2, "label", "river 7"), "a query has no corpus row with its label", 2),
        (put(7, "role", "query"), "a query has no corpus row with its label", 3),
        (make_all("query"), "there are no query rows or no corpus rows", 0),
        (make_all("corpus"), "there are no query rows or no corpus rows", 0),
    ],
    ids=["unknown", "missing", "no label", "no answer", "its answer asks", "all ask", "none asks"],
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


def test_rows_of_the_corpus_need_no_label(tmp_path: Path) -> None:
    assert (
        run(
            tmp_path,
            questions().assign(label=questions()["label"].where(lambda label: label != "river 4")),
        )
        == 2
    )


def candidates() -> pd.DataFrame:
    """Two pools with the same candidates, which are relevant to one query each."""
    texts = ["which river is long", "a long one it is", "a wide one it is"]
    texts += ["which river is wide", *texts[1:]]
    frame = pd.DataFrame({"text": texts, "role": ["query", "corpus", "corpus"] * 2})
    frame["label"] = ["right", "right", None, "right", None, "right"]
    frame["pool"] = frame["group"] = ["a", "a", "a", "b", "b", "b"]
    return frame.assign(id=[f"row-{row}" for row in range(6)])


def test_the_pools_of_a_reranking_task_may_share_candidates(tmp_path: Path) -> None:
    assert run(tmp_path, candidates(), "reranking") == 2


@pytest.mark.parametrize(
    ("spoil", "because"),
    [
        (put(1, "label", None), "a query has no corpus row with its label in its pool"),
        (put(2, "pool", None), "a pool is missing"),
        (put(2, "text", "a long one it is"), "an example occurs twice"),
    ],
    ids=["no answer", "no pool", "twice in a pool"],
)
def test_a_reranking_task_that_cannot_be_scored_is_refused(
    tmp_path: Path, spoil: Callable[[pd.DataFrame], None], because: str
) -> None:
    frame = candidates()
    spoil(frame)

    with pytest.raises(ValidationFailedError, match=because):
        run(tmp_path, frame, "reranking")


def test_a_table_without_roles_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"questions.parquet must have a column 'role': query or"):
        run(tmp_path, questions().drop(columns="role"))
