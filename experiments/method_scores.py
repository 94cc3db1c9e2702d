"""Scores of methods, their differences from a baseline, and the best method, with intervals."""

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
        gain: The method's score minus the baseline's, with a bootstrap interval over examples; None for the baseline
            itself, and for a method that has no seed in common with the baseline.
        gain_by_seed: The gain of each seed.
        gain_spread: The standard deviation of `gain_by_seed`; None with fewer than two seeds.
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
        indistinguishable: The methods for which the interval of `lead` is not entirely above zero.
        lead: The best method's score minus that of each other method, with an interval.
    """

    method: str
    indistinguishable: tuple[str, ...]
    lead: dict[str, Interval]


def method_scores(
    paired: PairedScores, domain: str, methods: Sequence[str], baseline: str
) -> dict[str, dict[str, MethodScore]]:
    """Return each method's scores in a domain, by task kind; the last kind, `mean`, is the mean over kinds.

    Kinds of which a method lacks a task are left out.
    """
    return {
        method: {
            kind: _score(paired, (domain, kind), method, baseline)
            for kind in paired.kinds(domain, method)
        }
        for method in methods
    }


def best_methods(paired: PairedScores, domain: str, methods: Sequence[str]) -> dict[str, Best]:
    """Return the best method in each task kind of a domain; ties go to the first method."""
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
    """Return, for each task kind, a model's score divided by the best score of other models.

    Task kinds without a positive best score are left out.

    Args:
        of: The model's scores by task kind.
        among: The scores of the other models, by model and task kind.
    """
    return {
        kind: score / best
        for kind, score in of.items()
        if (best := max((scores[kind] for scores in among.values()), default=0.0)) > 0
    }
