"""Latency and size of a student. The latency may be compared with that of another student in the same process."""

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
"""Time budget per batch size, in seconds; slow students are timed with fewer pairs."""
Answer = Callable[[Sequence[Example]], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Latency:
    """The time to embed one batch.

    Attributes:
        batch: Number of examples in the batch.
        ms: Median time in milliseconds.
        ratio: Median over the pairs of the challenger's time divided by the champion's. None without a champion.
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
    """Measure a student's latency on batches of 1 and 64, alone or in alternation with the champion.

    After a warm-up, both are called once per pair, one directly after the other, in alternating order, for up to 201
    pairs. The ratio is the median of the pairs' ratios. Single calls are so short that another process usually slows
    both or neither. With blocks of 10 ms, equal students differed by a factor of two.

    Args:
        challenger: The function that embeds examples with the student.
        champion: The function that embeds examples with the champion. None: the student is timed alone.
        examples: One or more examples, which are repeated to fill a batch.
        clock: A monotonic clock that returns seconds.
    """
    models = [challenger] if champion is None else [challenger, champion]
    return tuple(_latency(models, list(islice(cycle(examples), n)), clock) for n in BATCHES)


def size_mb(bundle: Path) -> float:
    """Return the total size of a folder's files, in 10^6 bytes, to three decimals."""
    files = (path for path in bundle.rglob("*") if path.is_file())
    return round(sum(path.stat().st_size for path in files) / 1e6, 3)


def _latency(models: Sequence[Answer], batch: Sequence[Example], clock: Clock) -> Latency:
    for model in models:
        model(batch)  # warm-up: the first call includes initialisation
    once_s = sum(seconds(model, batch, clock) for model in models)
    n_pairs = int(min(PAIRS, max(FEWEST_PAIRS, BUDGET_S / max(once_s, 1e-9))))
    times: list[list[float]] = [[] for _ in models]
    for pair in range(n_pairs):
        order = range(len(models)) if pair % 2 else reversed(range(len(models)))
        for index in order:
            times[index].append(seconds(models[index], batch, clock))
    ratio = None
    if len(models) > 1:
        ratio = round(median(new / old for new, old in zip(*times, strict=True)), 3)
    return Latency(len(batch), round(median(times[0]) * 1e3, 4), ratio)


def seconds(model: Answer, batch: Sequence[Example], clock: Clock) -> float:
    """Return the time in seconds that a model needs for a batch, at least 1e-9."""
    started = clock()
    model(batch)
    return max(clock() - started, 1e-9)
