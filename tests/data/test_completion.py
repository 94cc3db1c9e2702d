from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from polydistill.config.data import CorpusParams, TaskParams
from polydistill.data.groups import split_of
from polydistill.data.modalities.text import TextModality
from polydistill.data.tables import complete_task, corpus_table, read_corpus, read_tasks
from polydistill.errors import DataError
from tests.small_data import make_frames

TEXT = TextModality()


def task(kind: str = "classification", **options: object) -> TaskParams:
    return TaskParams.model_validate(
        {"kind": kind, "path": "data/task.csv", "domain": "in", **options}
    )


def test_a_corpus_of_texts_gets_ids_and_groups_and_loses_unusable_rows(tmp_path: Path) -> None:
    texts = ["The first text here.", "", "  ", "the FIRST text, here!", "The first text here."]
    file = tmp_path / "corpus.csv"
    pd.DataFrame({"body": [*texts, "01"], "stars": range(6)}).to_csv(file, index=False)
    params = CorpusParams(path="corpus.csv", column="body")

    frame = read_corpus(tmp_path, params, TEXT)

    assert frame["text"].tolist() == [texts[0], texts[3], "01"]
    assert frame["id"].tolist() == [TEXT.content_id(text) for text in frame["text"]]
    _, dropped = corpus_table(pd.read_csv(file, dtype=str), params, TEXT)
    assert dropped == {"empty": 2, "repeated": 1, "contradictory": 0}


def test_a_corpus_with_content_ids_is_unchanged(tmp_path: Path) -> None:
    corpus = make_frames()["corpus"]
    corpus.loc[1, "id"] = "damaged"
    corpus = pd.concat([corpus, corpus.head(1)], ignore_index=True)
    corpus.to_parquet(tmp_path / "corpus.parquet")

    frame = read_corpus(tmp_path, CorpusParams(path="corpus.parquet"), TEXT)

    pd.testing.assert_frame_equal(frame, corpus)


def test_other_ids_are_replaced_by_content_ids() -> None:
    frame = pd.DataFrame({"id": ["1", "2"], "text": ["first text", "second text"]})

    found, _ = corpus_table(frame, CorpusParams(path="corpus.csv"), TEXT)

    assert found["id"].tolist() == [TEXT.content_id(text) for text in frame["text"]]


def test_requesting_more_rows_than_are_usable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "corpus.csv").write_text("text,x\none text,1\none text,2\n")

    with pytest.raises(DataError, match="must have 2 usable rows, got 1"):
        read_corpus(tmp_path, CorpusParams(path="corpus.csv", rows=2), TEXT)


def test_an_ambiguous_column_must_be_named(tmp_path: Path) -> None:
    (tmp_path / "corpus.csv").write_text("a,b\none text,1\n")

    with pytest.raises(DataError, match=r"column 'text', got a, b\. Name the column .* `column`"):
        read_corpus(tmp_path, CorpusParams(path="corpus.csv"), TEXT)


def test_the_only_column_holds_the_examples(tmp_path: Path) -> None:
    (tmp_path / "corpus.csv").write_text("review\none text\n")

    frame = read_corpus(tmp_path, CorpusParams(path="corpus.csv"), TEXT)

    assert frame["text"].tolist() == ["one text"]


def test_a_task_of_texts_and_labels_gets_ids_groups_and_splits() -> None:
    texts = [f"text number {hashlib.md5(bytes([n])).hexdigest()}" for n in range(200)]  # noqa: S324
    frame = pd.DataFrame({"review": texts, "stars": ["1", "02"] * 100})
    unclear = pd.DataFrame(
        {"review": [texts[0], texts[1], None, "x y"], "stars": ["5", "02", "1", None]}
    )

    found, dropped = complete_task(
        pd.concat([frame, unclear], ignore_index=True), task(column="review", label="stars"), TEXT
    )

    assert dropped == {"empty": 2, "repeated": 1, "contradictory": 2}
    assert found["text"].tolist() == texts[1:]
    assert set(found["label"]) == {"1", "02"}
    assert found["id"].is_unique
    assert set(found["split"]) == {"train", "test"}
    assert 0.1 < (found["split"] == "test").mean() < 0.3


def test_near_duplicates_share_a_split_and_appended_rows_move_no_others() -> None:
    texts = [f"this is text number {n:04}" for n in range(40)]
    frame = pd.DataFrame({"text": texts, "label": ["a", "b"] * 20})

    found, _ = complete_task(frame, task(), TEXT)
    more = pd.DataFrame({"text": ["something else entirely"], "label": ["a"]})
    longer, _ = complete_task(pd.concat([frame, more], ignore_index=True), task(), TEXT)

    assert found.groupby("group")["split"].nunique().max() == 1
    assert longer["split"].tolist()[:-1] == found["split"].tolist()


def test_every_class_has_a_training_row() -> None:
    groups = [str(n) for n in range(50)]
    plain = split_of(groups)
    rare = plain.index("test")

    split = split_of(groups, ["rare" if n == rare else "common" for n in range(50)])

    assert split[rare] == "train"
    assert split.count("test") == plain.count("test") - 1


def test_even_a_few_groups_have_a_test_row() -> None:
    for n in range(2, 12):
        assert set(split_of([f"group {n} {one}" for one in range(n)])) == {"train", "test"}


def test_labels_of_a_text_file_are_numbers_if_the_kind_needs_numbers() -> None:
    frame = pd.DataFrame({"text": ["one text", "two texts"], "label": ["1.5", "2"]})

    numbers, _ = complete_task(frame, task("regression"), TEXT)
    classes, _ = complete_task(frame, task(), TEXT)

    assert numbers["label"].tolist() == [1.5, 2.0]
    assert classes["label"].tolist() == ["1.5", "2"]


def test_pairs_get_ids_from_both_sides() -> None:
    sides = {"q1": ["a text", "a text", "b text"], "q2": ["b text", "c text", "a text"]}
    frame = pd.DataFrame({**sides, "score": [1, 2, 3]})

    found, _ = complete_task(frame, task("sts", column="q", label="score"), TEXT)

    assert found["id"].nunique() == 3
    assert found["text1"].tolist() == sides["q1"]


def test_a_complete_task_is_unchanged(tmp_path: Path) -> None:
    frame = make_frames()["topics"]
    (tmp_path / "data").mkdir()
    frame.to_parquet(tmp_path / "data" / "task.parquet")

    found = read_tasks(tmp_path, {"topics": task(path="data/task.parquet")}, TEXT)["topics"]

    pd.testing.assert_frame_equal(found, frame)


@pytest.mark.parametrize(
    "labels", [["0", "1", "1"], [0, 1, 1], [0.0, 1.0, 1.0], [False, True, True], ["False", " true", "TRUE"]]
)  # fmt: skip
def test_labels_of_pairs_are_0_and_1(labels: list[object]) -> None:
    frame = pd.DataFrame({"text1": ["a", "b", "c"], "text2": ["d", "e", "f"], "label": labels})

    found, dropped = complete_task(frame, task("pair-classification"), TEXT)

    assert found["label"].tolist() == ["0", "1", "1"]
    assert not any(dropped.values())


def test_another_label_of_a_pair_is_named() -> None:
    labels = ["0", "1", "maybe"]
    frame = pd.DataFrame({"text1": ["a", "b", "c"], "text2": ["d", "e", "f"], "label": labels})

    with pytest.raises(
        DataError, match=r"data/task.csv, column 'label', row 3: .* got 'maybe' \(1 such"
    ):
        complete_task(frame, task("pair-classification"), TEXT)


def candidates() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "text": ["which one", "this one", "not this", "which other", "this one", "that one"],
            "role": ["query", "corpus", "corpus"] * 2,
            "pool": [1, 1, 1, 2, 2, 2],
            "label": ["yes", "yes", None, "yes", None, "yes"],
        }
    )


def test_pools_may_share_candidates_and_are_the_groups() -> None:
    found, dropped = complete_task(candidates(), task("reranking"), TEXT)

    assert len(found) == found["id"].nunique() == 6
    assert not any(dropped.values())
    assert found["group"].tolist() == found["pool"].tolist() == ["1", "1", "1", "2", "2", "2"]
    assert found["label"].isna().tolist() == [False, False, True, False, True, False]


def test_a_reranking_task_without_pools_is_refused() -> None:
    with pytest.raises(DataError, match="'pool'.*A query ranks the corpus rows of its pool"):
        complete_task(candidates().drop(columns="pool"), task("reranking"), TEXT)


def test_the_first_rows_of_a_ranking_are_whole_queries_with_their_answers(tmp_path: Path) -> None:
    rows = [
        {"text": f"the {role} {n}", "label": str(n), "role": role, "pool": str(n % 3)}
        for n in range(9)
        for role in ("query", "corpus")
    ]
    rows += [
        {"text": f"other {n}", "label": f"none {n}", "role": "corpus", "pool": "x"}
        for n in range(9)
    ]
    frame = pd.DataFrame(rows)

    with pytest.raises(DataError, match=r"`max_rows` must be enough .* 6 rows, got 5"):
        complete_task(frame, task("reranking", max_rows=5), TEXT)
    few, _ = complete_task(frame, task("retrieval", max_rows=7), TEXT)
    many, _ = complete_task(frame, task("retrieval", max_rows=20), TEXT)
    pools, _ = complete_task(frame, task("reranking", max_rows=13), TEXT)

    assert few.groupby("label")["role"].nunique().value_counts().to_dict() == {2: 3, 1: 1}
    assert len(few) == 7
    assert len(many) == 20
    assert many["label"].str.startswith("none").sum() == 2
    assert pools["pool"].value_counts().loc[lambda sizes: sizes == 6].size == 2
