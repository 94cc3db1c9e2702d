"""What a student costs to serve, held against another in the same process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from polydistill.contracts import Example

BATCHES = (1, 64)
PAIRS = 201
FEWEST_PAIRS = 15
BUDGET_S = 5.0
"""For each batch size: slow students are measured by fewer pairs."""
Answer = Callable[[Sequence[Example]], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Latency:
    """How long a batch takes.

    Attributes:
        batch: Its examples.
        ms: Median milliseconds.
        ratio: Median of the times over the champion's beside them; none without a champion.
    """

    batch: int
    ms: float
    ratio: float | None


def latencies(
    challenger: Answer,
    champion: Answer | None,
    examples: Sequence[Example],
    *,
    clock: Clock = time.perf_counter,
) -> tuple[Latency, ...]:
    """Time a student on batches of 1 and 64, alone or in turn with the champion.

    Both are warmed up, then called once each, one right after the other, the first in turn, up to 201
    times. The ratio is the median of the pairs' ratios: single calls are so short that another process
    mostly hits both or neither, where blocks of 10 ms made equal students differ by a factor of two.

    Args:
        challenger: Embeds examples.
        champion: The same, of the student to compare with.
        examples: One or more, used over and over.
        clock: Seconds, rising.
    """
    return tuple(
        _latency(challenger, champion, list(islice(cycle(examples), batch)), clock)
        for batch in BATCHES
    )


def size_mb(bundle: Path) -> float:
    """Return the size of a folder's files, in 10^6 bytes, to three decimals."""
    files = (path for path in bundle.rglob("*") if path.is_file())
    return round(sum(path.stat().st_size for path in files) / 1e6, 3)


def _latency(
    challenger: Answer, champion: Answer | None, batch: Sequence[Example], clock: Clock
) -> Latency:
    models = [challenger] if champion is None else [challenger, champion]
    for model in models:
        model(batch)  # what is made at the first call is no part of the second
    once_s = sum(seconds(model, batch, clock) for model in models)
    n_pairs = int(min(PAIRS, max(FEWEST_PAIRS, BUDGET_S / max(once_s, 1e-9))))
    times: list[list[float]] = [[] for _ in models]
    for pair in range(n_pairs):
        order = range(len(models)) if pair % 2 else reversed(range(len(models)))
        for place in order:
            times[place].append(seconds(models[place], batch, clock))
    ratio = None
    if champion is not None:
        ratio = round(median(new / old for new, old in zip(*times, strict=True)), 3)
    return Latency(len(batch), round(median(times[0]) * 1e3, 4), ratio)


def seconds(model: Answer, batch: Sequence[Example], clock: Clock) -> float:
    """Return how long a model takes for a batch; above zero."""
    started = clock()
    model(batch)
    return max(clock() - started, 1e-9)
