from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydistill.data.near_duplicates import connected_groups, links_of_equal, near_duplicate_pairs

WORDS = ["red", "green", "blue", "house", "mouse", "library", "libraries", "for", "maps", "map"]
KEYS = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join), unique=True, max_size=25
)


def grams(key: str) -> set[str]:
    padded = key.ljust(5, "\0")
    return {padded[start : start + 5] for start in range(len(padded) - 4)}


def slow_pairs(keys: list[str], threshold: float) -> list[tuple[int, int]]:
    """Compare every pair, as the definition says."""
    sets = [grams(key) for key in keys]
    return [
        (one, two)
        for one, two in itertools.combinations(range(len(keys)), 2)
        if len(sets[one] & sets[two]) >= threshold * len(sets[one] | sets[two]) - 1e-9
    ]


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
@given(keys=KEYS)
@settings(max_examples=60, deadline=None)
def test_the_search_finds_the_same_pairs_as_comparing_all(
    threshold: float, keys: list[str]
) -> None:
    pairs = near_duplicate_pairs(keys, threshold)

    assert [tuple(pair) for pair in pairs.tolist()] == slow_pairs(keys, threshold)


def test_an_empty_list_has_no_pairs() -> None:
    assert near_duplicate_pairs([]).shape == (0, 2)


def test_short_keys_are_compared_whole() -> None:
    assert near_duplicate_pairs(["cat", "car", "dog"]).shape == (0, 2)


def test_linked_rows_form_one_group() -> None:
    groups = connected_groups(5, np.array([[0, 1], [1, 4]]), np.array([[2, 3]]))

    assert groups[0] == groups[1] == groups[4]
    assert groups[2] == groups[3] != groups[0]


def test_equal_values_are_linked_to_the_first() -> None:
    assert links_of_equal(["a", "b", "a"]).tolist() == [[0, 0], [1, 1], [0, 2]]
