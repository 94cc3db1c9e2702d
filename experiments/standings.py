"""Where each method stands: its score, its distance to a baseline and to the best, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev

from polydistill.evaluation.statistics.bootstrap import Interval
from polydistill.evaluation.statistics.paired import PairedScores


@dataclass(frozen=True)
class Standing:
    """One method in one task kind.

    Attributes:
        mean: Main score, over tasks and seeds.
        seed_spread: Standard deviation of it over the seeds; none with one seed.
        gain: The method minus the baseline, with the interval of the examples' chance; none for the baseline
            itself, and where they share no seed.
        gain_by_seed: Seed: the same with that seed alone.
        gain_spread: Standard deviation of those; none with fewer than two.
    """

    mean: float
    seed_spread: float | None
    gain: Interval | None
    gain_by_seed: dict[str, float]
    gain_spread: float | None


@dataclass(frozen=True)
class Best:
    """Who leads in one task kind.

    Attributes:
        method: The greatest mean.
        within: Methods that the leader is not surely above: the interval of the lead holds zero.
        lead: Method: the leader minus it.
    """

    method: str
    within: tuple[str, ...]
    lead: dict[str, Interval]


def standings(
    paired: PairedScores, domain: str, methods: Sequence[str], baseline: str
) -> dict[str, dict[str, Standing]]:
    """Return where each method stands in each kind of a domain, and over all."""
    return {
        method: {
            kind: _standing(paired, (domain, kind), method, baseline)
            for kind in paired.kinds(domain)
        }
        for method in methods
    }


def best_methods(paired: PairedScores, domain: str, methods: Sequence[str]) -> dict[str, Best]:
    """Return who leads in each kind of a domain, and over all; the first of equals."""
    found = {}
    for kind in paired.kinds(domain):
        leader = max(methods, key=lambda method: paired.mean(domain, kind, method))
        lead = {
            method: paired.difference(domain, kind, leader, method)
            for method in methods
            if method != leader and paired.common_seeds(leader, method)
        }
        within = tuple(method for method, apart in lead.items() if not apart.above_zero)
        found[kind] = Best(leader, within, lead)
    return found


def _standing(paired: PairedScores, where: tuple[str, str], method: str, baseline: str) -> Standing:
    seeds = paired.seeds(method)
    by_seed = [paired.mean(*where, method, [seed]) for seed in seeds]
    common = [] if method == baseline else paired.common_seeds(method, baseline)
    gains = {
        str(seed): paired.mean(*where, method, [seed]) - paired.mean(*where, baseline, [seed])
        for seed in common
    }
    return Standing(
        mean=paired.mean(*where, method),
        seed_spread=_spread(by_seed),
        gain=paired.difference(*where, method, baseline) if common else None,
        gain_by_seed=gains,
        gain_spread=_spread(list(gains.values())),
    )


def _spread(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def shares(of: Mapping[str, float], among: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return, for each kind, a score's share of the best one among some models (kind: score each)."""
    return {
        kind: score / best
        for kind, score in of.items()
        if (best := max((scores[kind] for scores in among.values()), default=0.0)) > 0
    }
