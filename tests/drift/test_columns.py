from __future__ import annotations

import pandas as pd

from polydistill.drift.columns import allowed_ranges, choose_columns, derive, means

CORPUS = pd.DataFrame(
    {
        "text": ["a", "bb", "bb", "dddd", None],
        "source": ["wordnet", "debian", "debian", "debian", None],
    }
)


def test_the_columns_of_a_corpus_are_its_lengths_its_faults_and_its_sources() -> None:
    names = choose_columns(CORPUS, "text")

    assert names == [
        "n_characters", "n_characters>0", "n_characters>2", "n_characters>3", "is_empty",
        "is_repeated", "source=", "source=debian", "source=wordnet", "is_new_source",
    ]  # fmt: skip


def test_their_means_are_characters_and_shares() -> None:
    names = choose_columns(CORPUS, "text")

    found = means(derive(CORPUS, "text", names))

    assert found["n_characters"] == 9 / 5
    assert found["n_characters>2"] == 1 / 5
    assert found["is_empty"] == 1 / 5
    assert found["is_repeated"] == 1 / 5
    assert found["source=debian"] == 3 / 5
    assert found["is_new_source"] == 0


def test_another_corpus_is_counted_by_the_same_columns() -> None:
    other = pd.DataFrame({"text": ["aaa", "a"], "source": ["debian", "news"]})

    found = means(derive(other, "text", choose_columns(CORPUS, "text")))

    assert (found["source=debian"], found["source=wordnet"], found["is_new_source"]) == (
        0.5,
        0,
        0.5,
    )


def test_a_length_may_move_by_a_share_of_itself_and_a_share_by_an_amount() -> None:
    ranges = allowed_ranges({"n_characters": 50.0, "is_empty": 0.0}, tolerance=0.1)

    assert [(one.low, one.high) for one in ranges] == [(45.0, 55.0), (-0.1, 0.1)]
    assert ranges[0].rule.type == "expect_column_mean_to_be_between"
    assert ranges[0].rule.kwargs == {"column": "n_characters", "min_value": 45.0, "max_value": 55.0}


def test_a_corpus_without_sources_has_no_column_for_them() -> None:
    assert not [name for name in choose_columns(CORPUS[["text"]], "text") if "source" in name]
