"""The score of each method, its difference from a baseline, and the best method, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev

from experiments.paired import PairedScores
from polydistill.evaluation.statistics.bootstrap import Interval


@dataclass(frozen=True)
class MethodScore:
    """The score of one method in one task kind.

    Attributes:
        mean: The mean main score over tasks and seeds.
        seed_spread: The standard deviation of the main score over seeds; None with one seed.
        gain: The method minus the baseline, with a bootstrap interval over examples; None for the baseline itself,
            and for a method that has no seed in common with the baseline.
        gain_by_seed: The gain of each seed.
        gain_spread: The standard deviation of these gains; None with fewer than two seeds.
    """

    mean: float
    seed_spread: float | None
    gain: Interval | None
    gain_by_seed: dict[str, float]
    gain_spread: float | None


@dataclass(frozen=True)
class Best:
    """The best method in one task kind.

    Attributes:
        method: The method with the highest mean.
        indistinguishable: The methods whose difference from the best one has an interval that contains zero.
        lead: The best method minus each other method.
    """

    method: str
    indistinguishable: tuple[str, ...]
    lead: dict[str, Interval]


def method_scores(
    paired: PairedScores, domain: str, methods: Sequence[str], baseline: str
) -> dict[str, dict[str, MethodScore]]:
    """Return the score of each method, by task kind of a domain; the last kind is the mean over kinds."""
    return {
        method: {
            kind: _score(paired, (domain, kind), method, baseline) for kind in paired.kinds(domain)
        }
        for method in methods
    }


def best_methods(paired: PairedScores, domain: str, methods: Sequence[str]) -> dict[str, Best]:
    """Return the best method of each task kind of a domain; of equal methods, the first."""
    found = {}
    for kind in paired.kinds(domain):
        leader = max(methods, key=lambda method: paired.mean(domain, kind, method))
        lead = {
            method: paired.difference(domain, kind, leader, method)
            for method in methods
            if method != leader and paired.common_seeds(leader, method)
        }
        indistinguishable = tuple(
            method for method, difference in lead.items() if not difference.above_zero
        )
        found[kind] = Best(leader, indistinguishable, lead)
    return found


def _score(paired: PairedScores, where: tuple[str, str], method: str, baseline: str) -> MethodScore:
    seeds = paired.seeds(method)
    by_seed = [paired.mean(*where, method, [seed]) for seed in seeds]
    common = [] if method == baseline else paired.common_seeds(method, baseline)
    gains = {
        str(seed): paired.mean(*where, method, [seed]) - paired.mean(*where, baseline, [seed])
        for seed in common
    }
    return MethodScore(
        mean=paired.mean(*where, method),
        seed_spread=_spread(by_seed),
        gain=paired.difference(*where, method, baseline) if common else None,
        gain_by_seed=gains,
        gain_spread=_spread(list(gains.values())),
    )


def _spread(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def shares(of: Mapping[str, float], among: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return, for each task kind, a score divided by the best score among some models.

    Args:
        of: The scores by task kind.
        among: The scores of each of the other models by task kind.
    """
    return {
        kind: score / best
        for kind, score in of.items()
        if (best := max((scores[kind] for scores in among.values()), default=0.0)) > 0
    }
