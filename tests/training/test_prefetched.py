"""Batches that a thread makes ahead: the same order, errors in place, and a thread that ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from polydistill.training.dataset import AHEAD, prefetched


def numbers(made: list[int], fails_at: int | None = None) -> Iterator[int]:
    for number in range(10):
        if number == fails_at:
            raise ValueError("no such batch")
        made.append(number)
        yield number


def test_the_items_keep_their_order_and_are_all_made() -> None:
    made: list[int] = []

    assert list(prefetched(numbers(made))) == made == list(range(10))


def test_an_error_comes_after_the_items_before_it() -> None:
    found: list[int] = []

    with pytest.raises(ValueError, match="no such batch"):
        found.extend(prefetched(numbers([], fails_at=3)))

    assert found == [0, 1, 2]


def test_closing_ends_the_thread_and_makes_no_more_items() -> None:
    before, made = threading.active_count(), list[int]()
    items = prefetched(numbers(made))
    assert next(items) == 0

    items.close()

    assert threading.active_count() == before
    assert len(made) <= 1 + AHEAD
