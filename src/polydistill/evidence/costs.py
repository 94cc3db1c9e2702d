"""What a student costs to serve, held against another in the same process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from polydistill.contracts import Example
from polydistill.registry.evidence import Latency

BATCHES = (1, 64)
REPETITIONS = 15
LEAST_S = 0.01
"""One measurement repeats a call for so long: a single call of 0.1 ms is mostly the clock's noise."""
Answer = Callable[[Sequence[Example]], object]
Clock = Callable[[], float]


def latencies(
    challenger: Answer,
    champion: Answer | None,
    examples: Sequence[Example],
    *,
    repetitions: int = REPETITIONS,
    clock: Clock = time.perf_counter,
) -> tuple[Latency, ...]:
    """Time a student on batches of 1 and 64, alone or in turn with the champion.

    Both are warmed up, then measured one right after the other, the first in turn, so that a busy moment
    of the machine hits both alike; the ratio is the median of the pairs' ratios.

    Args:
        challenger: Embeds examples.
        champion: The same, of the student to compare with.
        examples: One or more, used over and over.
        repetitions: How many pairs.
        clock: Seconds, rising.
    """
    return tuple(
        _latency(challenger, champion, list(islice(cycle(examples), batch)), repetitions, clock)
        for batch in BATCHES
    )


def size_mb(bundle: Path) -> float:
    """Return the size of a folder's files, in 10^6 bytes, to three decimals."""
    files = (path for path in bundle.rglob("*") if path.is_file())
    return round(sum(path.stat().st_size for path in files) / 1e6, 3)


def _latency(
    challenger: Answer,
    champion: Answer | None,
    batch: Sequence[Example],
    repetitions: int,
    clock: Clock,
) -> Latency:
    models = [challenger] if champion is None else [challenger, champion]
    calls = []
    for model in models:
        model(batch)  # what is made at the first call is no part of the second
        once_s = max(_seconds(model, batch, 1, clock), 1e-9)
        calls.append(max(1, round(LEAST_S / once_s)))
    times: list[list[float]] = [[] for _ in models]
    for repetition in range(repetitions):
        order = range(len(models)) if repetition % 2 else reversed(range(len(models)))
        for place in order:
            times[place].append(_seconds(models[place], batch, calls[place], clock))
    ratio = None
    if champion is not None:
        ratio = round(median(new / old for new, old in zip(*times, strict=True)), 3)
    return Latency(len(batch), round(median(times[0]) * 1e3, 4), ratio)


def _seconds(model: Answer, batch: Sequence[Example], calls: int, clock: Clock) -> float:
    """Return the seconds of one call, by the mean of several."""
    started = clock()
    for _ in range(calls):
        model(batch)
    return (clock() - started) / calls
