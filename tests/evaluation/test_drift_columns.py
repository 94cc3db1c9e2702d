from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import pytest

from polydistill.contracts import Example
from polydistill.data.modalities.text import TextModality
from polydistill.errors import DataError
from polydistill.evaluation.drift import allowed_ranges, choose_columns, derive, means

TEXT = TextModality()
CORPUS = pd.DataFrame(
    {
        "text": ["a", "bb", "bb", "dddd", None],
        "source": ["wordnet", "debian", "debian", "debian", None],
    }
)


def test_the_columns_of_a_corpus_are_its_lengths_its_faults_and_its_sources() -> None:
    names = choose_columns(CORPUS, TEXT)

    assert names == [
        "n_characters", "n_characters>0", "n_characters>2", "n_characters>3", "printable_ratio",
        "printable_ratio>0", "printable_ratio>1", "is_empty",
        "is_repeated", "source=", "source=debian", "source=wordnet", "is_new_source",
    ]  # fmt: skip


def test_their_means_are_characters_and_shares() -> None:
    names = choose_columns(CORPUS, TEXT)

    found = means(derive(CORPUS, TEXT, names))

    assert found["n_characters"] == 9 / 5
    assert found["n_characters>2"] == 1 / 5
    assert found["is_empty"] == 1 / 5
    assert found["is_repeated"] == 1 / 5
    assert found["source=debian"] == 3 / 5
    assert found["is_new_source"] == 0


def test_another_corpus_is_counted_by_the_same_columns() -> None:
    other = pd.DataFrame({"text": ["aaa", "a"], "source": ["debian", "news"]})

    found = means(derive(other, TEXT, choose_columns(CORPUS, TEXT)))

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
    assert not [name for name in choose_columns(CORPUS[["text"]], TEXT) if "source" in name]


def test_a_measure_of_any_size_and_sign_gets_thresholds_of_three_digits() -> None:
    names = choose_columns(pd.DataFrame({"tone": [b"a", b"b", b"c"]}), Loudness())

    assert names == ["loudness", "loudness>-0.112", "loudness>0.25", "loudness>12.4", "is_empty",
                     "is_repeated"]  # fmt: skip


def test_a_reference_by_a_measure_that_is_gone_is_refused() -> None:
    with pytest.raises(DataError, match=r"'text' must measure 'n_words', got n_characters"):
        derive(CORPUS, TEXT, ["n_words>3"])


class Loudness(TextModality):
    column = "tone"

    def derived(self, shown: Sequence[Sequence[Example]]) -> Mapping[str, Sequence[float]]:
        return {"loudness": [-0.2031, 0.25, 15.4321][: len(shown)]}
