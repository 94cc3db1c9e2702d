"""Timing two ways of one thing side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypedDict

REPETITIONS = 5


class Row(TypedDict):
    """One comparison.

    Attributes:
        name: What was done.
        ours: How long, or how fast, we were.
        peer: The same of the peer.
        ratio: How many times better we are: above 1 is faster.
        unit: Of `ours` and `peer`.
    """

    name: str
    ours: float
    peer: float
    ratio: float
    unit: str


def best_seconds(
    ours: Callable[[], object], peer: Callable[[], object], repetitions: int = REPETITIONS
) -> tuple[float, float]:
    """Return the best seconds of each, taken in turn, so that a busy moment hits both alike."""
    best = [float("inf"), float("inf")]
    for _ in range(repetitions):
        for place, call in enumerate((ours, peer)):
            started = time.perf_counter()
            call()
            best[place] = min(best[place], time.perf_counter() - started)
    return best[0], best[1]


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
