"""Timing two ways of one thing side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

REPETITIONS = 5
Seconds = NDArray[np.float64]


class Row(TypedDict):
    """One comparison.

    Attributes:
        name: What was done.
        ours: How long, how fast or how much.
        peer: The same of the peer.
        ratio: How many times better we are: above 1 is faster. Where `goal` is an upper bound: how many
            times more we need, or a share.
        unit: Of `ours` and `peer`.
        spread: The quartiles of the repetitions' own ratios.
        goal: What `ratio` should be.
    """

    name: str
    ours: float
    peer: float
    ratio: float
    unit: str
    spread: NotRequired[tuple[float, float]]
    goal: NotRequired[str]


def best_seconds(
    ours: Callable[[], object], peer: Callable[[], object], repetitions: int = REPETITIONS
) -> tuple[float, float]:
    """Return the best seconds of each, taken in turn, so that a busy moment hits both alike."""
    best = seconds_in_turn([ours, peer], repetitions).min(axis=1)
    return float(best[0]), float(best[1])


def seconds_in_turn(calls: Sequence[Callable[[], object]], repetitions: int) -> Seconds:
    """Return the seconds of every repetition, `(n_calls, repetitions)`, one of each call in turn.

    Every second repetition goes backwards, so that none of them always stands behind the same other.
    """
    seconds = np.zeros((len(calls), repetitions))
    places = list(range(len(calls)))
    for repetition in range(repetitions):
        for place in places if repetition % 2 == 0 else places[::-1]:
            started = time.perf_counter()
            calls[place]()
            seconds[place, repetition] = time.perf_counter() - started
    return seconds


def compare_seconds(name: str, seconds: tuple[float, float]) -> Row:
    """Compare durations, given in seconds and kept in milliseconds."""
    ours, peer = seconds
    return Row(
        name=name,
        ours=round(ours * 1000, 3),
        peer=round(peer * 1000, 3),
        ratio=round(peer / ours, 3),
        unit="ms",
    )


def compare_medians(name: str, ours: Seconds, peer: Seconds, goal: str) -> Row:
    """Compare the medians of durations taken in turn; the spread is that of peer over ours, pair by pair."""
    row = compare_seconds(name, (float(np.median(ours)), float(np.median(peer))))
    return Row(**row, spread=quartiles(peer / ours), goal=goal)  # type: ignore[misc]


def quartiles(ratios: Seconds) -> tuple[float, float]:
    """Return the first and the third."""
    low, high = np.quantile(ratios, [0.25, 0.75])
    return round(float(low), 4), round(float(high), 4)


def compare_rates(name: str, seconds: tuple[float, float], rows: int) -> Row:
    """Compare speeds over `rows` examples."""
    ours, peer = (rows / one for one in seconds)
    return Row(
        name=name,
        ours=round(ours, 1),
        peer=round(peer, 1),
        ratio=round(ours / peer, 3),
        unit="rows/s",
    )
