from __future__ import annotations

import hashlib

import pandas as pd
import pytest

from polydistill.data.intake import Named, take_in
from polydistill.data.modalities.text import TextModality
from polydistill.errors import DataError

TEXT = TextModality()
WORDS = [hashlib.sha256(bytes([n])).hexdigest() for n in range(40)]
CORPUS = pd.DataFrame({"text": [f"{word[:12]} {word[12:30]}" for word in WORDS]})


def test_pairs_keep_their_columns_and_are_not_in_the_corpus() -> None:
    pairs = pd.DataFrame(
        {"q1": CORPUS["text"][:5], "q2": CORPUS["text"][5:10].tolist(), "score": range(5)}
    )

    got = take_in(CORPUS, pairs, TEXT, Named(column="q", label="score", kind="sts"))

    assert got.task is not None
    assert list(got.task.frame) == ["text1", "text2", "label"]
    assert got.task.n_test == 5
    assert got.corpus["text"].tolist() == CORPUS["text"][10:].tolist()


def test_own_ids_are_kept_for_tables_of_precomputed_embeddings() -> None:
    own = [f"doc-{row}" for row in range(40)]
    hashes = CORPUS["text"].map(TEXT.content_id)

    got = take_in(CORPUS.assign(id=own), None, TEXT, Named())

    assert got.corpus.to_dict("list") == {"text": CORPUS["text"].tolist(), "id": own}
    assert list(take_in(CORPUS.assign(id=hashes), None, TEXT, Named()).corpus) == ["text"]


def test_a_search_task_keeps_its_roles() -> None:
    rows = pd.DataFrame(
        {
            "text": ["where is the cat", "the cat is on the mat"],
            "label": ["cat", "cat"],
            "role": ["query", "corpus"],
        }
    )

    got = take_in(CORPUS, rows, TEXT, Named(label="label", kind="retrieval"))

    assert got.task is not None
    assert got.task.frame.to_dict("list") == rows[["text", "label", "role"]].to_dict("list")


def test_near_duplicates_of_a_large_corpus_with_labels_are_on_one_side() -> None:
    copies = pd.concat([CORPUS, CORPUS["text"].str.upper().to_frame()], ignore_index=True)

    got = take_in(copies.assign(label=["a", "b"] * 40), None, TEXT, Named())

    assert got.task is not None
    keys = [set(part["text"].map(TEXT.near_key)) for part in (got.corpus, got.task.frame)]
    assert not keys[0] & keys[1]
    assert f"the task has them: {len(got.task.frame)} examples." in got.notes[-1]
    assert 20 < len(got.task.frame) < 60


def test_a_task_that_has_all_examples_of_the_corpus_is_refused() -> None:
    task = CORPUS.assign(label=["a", "b"] * 20)

    with pytest.raises(DataError, match="that are not in the task, got none"):
        take_in(CORPUS, task, TEXT, Named())


def test_a_task_without_labels_is_refused() -> None:
    with pytest.raises(DataError, match="must have a column 'label', got text"):
        take_in(CORPUS, CORPUS.head(3), TEXT, Named())
