"""A student made again beside the published one: the same bytes, or how far apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["identical bytes", "within tolerance", "different"]
DISTILL, SCORES = "distill.json", "scores.json"


@dataclass(frozen=True)
class Difference:
    """One figure that is not the same.

    Attributes:
        metric: `scores/<model>/<kind>/<task>`, or `held_out/<teacher>` in nats per dimension.
        published: Its value; None where the published student has none.
        reproduced: The same of the student made again.
        difference: The second minus the first; None where one is missing.
    """

    metric: str
    published: float | None
    reproduced: float | None
    difference: float | None


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    Attributes:
        outcome: `identical bytes`: both students' weights and every figure are the same.
        student_identical: Whether the student's weights are, bit for bit.
        undistilled_identical: The same of the student before its first step.
        n_metrics: Figures compared.
        differences: Those that differ, the largest first.
    """

    outcome: Outcome
    student_identical: bool
    undistilled_identical: bool
    n_metrics: int
    differences: tuple[Difference, ...]


def compare(
    published: Mapping[str, Mapping[str, Any]],
    reproduced: Mapping[str, Mapping[str, Any]],
    tolerance: float,
) -> Comparison:
    """Compare two students by what their reports say.

    Args:
        published: `distill.json` and `scores.json`, by file name.
        reproduced: The same of the student made again.
        tolerance: Largest difference of a figure that counts as the same, in its own unit.
    """
    sides = (published, reproduced)
    student, undistilled = (
        _same(*(side[DISTILL].get(key) for side in sides))
        for key in ("student_sha256", "undistilled_sha256")
    )
    before, after = _figures(published), _figures(reproduced)
    every = sorted(before.keys() | after.keys())
    pairs = [_difference(name, before.get(name), after.get(name)) for name in every]
    apart = [pair for pair in pairs if pair.published != pair.reproduced]
    apart.sort(key=_distance, reverse=True)
    if student and undistilled and not apart:
        outcome: Outcome = "identical bytes"
    elif all(_distance(pair) <= tolerance for pair in apart):
        outcome = "within tolerance"
    else:
        outcome = "different"
    return Comparison(outcome, student, undistilled, len(every), tuple(apart))


def _same(published: str | None, reproduced: str | None) -> bool:
    return published is not None and published == reproduced


def _figures(side: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return every score, and the held-out loss of every teacher."""
    distillation = side[DISTILL]
    figures = {f"held_out/{name}": nats for name, nats in distillation.get("held_out", {}).items()}
    figures["held_out_mean"] = distillation["held_out_mean"]
    for model, kinds in side[SCORES].items():
        for kind, tasks in kinds.items():
            figures |= {f"scores/{model}/{kind}/{task}": score for task, score in tasks.items()}
    return {name: float(value) for name, value in figures.items()}


def _difference(name: str, before: float | None, after: float | None) -> Difference:
    apart = None if before is None or after is None else after - before
    return Difference(name, before, after, apart)


def _distance(pair: Difference) -> float:
    return math.inf if pair.difference is None else abs(pair.difference)
