"""Measure two implementations alternately, and compare them."""

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
        name: A description of the comparison.
        ours: The measured value of our implementation.
        peer: The measured value of the peer.
        ratio: The factor by which ours is better; above 1 is faster. If `goal` is an upper bound, the factor by which
            ours needs more, or a share.
        unit: The unit of `ours` and `peer`.
        spread: The quartiles of the ratio over repetitions.
        goal: The required `ratio`.
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
    """Return the shortest duration of each, in seconds. They run in turn, so that other load affects both."""
    best = seconds_in_turn([ours, peer], repetitions).min(axis=1)
    return float(best[0]), float(best[1])


def seconds_in_turn(calls: Sequence[Callable[[], object]], repetitions: int) -> Seconds:
    """Return the durations of all repetitions in seconds, `(n_calls, repetitions)`; the calls run in turn.

    Every second repetition runs them in reverse order, so that no call always follows the same other call.
    """
    seconds = np.zeros((len(calls), repetitions))
    order = list(range(len(calls)))
    for repetition in range(repetitions):
        for call in order if repetition % 2 == 0 else order[::-1]:
            started = time.perf_counter()
            calls[call]()
            seconds[call, repetition] = time.perf_counter() - started
    return seconds


def compare_seconds(name: str, seconds: tuple[float, float]) -> Row:
    """Compare durations, given in seconds and reported in milliseconds."""
    ours, peer = seconds
    return Row(
        name=name,
        ours=round(ours * 1000, 3),
        peer=round(peer * 1000, 3),
        ratio=round(peer / ours, 3),
        unit="ms",
    )


def compare_medians(name: str, ours: Seconds, peer: Seconds, goal: str) -> Row:
    """Compare the medians of durations. The spread is that of peer divided by ours, per repetition."""
    row = compare_seconds(name, (float(np.median(ours)), float(np.median(peer))))
    return Row(**row, spread=quartiles(peer / ours), goal=goal)  # type: ignore[misc]


def quartiles(ratios: Seconds) -> tuple[float, float]:
    """Return the first and the third quartile."""
    low, high = np.quantile(ratios, [0.25, 0.75])
    return round(float(low), 4), round(float(high), 4)


def compare_rates(name: str, seconds: tuple[float, float], rows: int) -> Row:
    """Compare throughputs on `rows` examples."""
    ours, peer = (rows / one for one in seconds)
    return Row(
        name=name,
        ours=round(ours, 1),
        peer=round(peer, 1),
        ratio=round(ours / peer, 3),
        unit="rows/s",
    )
