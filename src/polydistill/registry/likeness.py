"""Comparison of a reproduced student with the published one: their weights, scores and held-out losses."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

Outcome = Literal["identical bytes", "within tolerance", "different"]
DISTILL, SCORES = "distill.json", "scores.json"


@dataclass(frozen=True)
class Difference:
    """A score or held-out loss that differs.

    Attributes:
        metric: The name, `scores/<model>/<kind>/<task>` or `held_out/<teacher>` (in nats per dimension).
        published: The published student's value; None if it is missing.
        reproduced: The reproduced student's value; None if it is missing.
        difference: `reproduced` minus `published`; None if either is missing.
    """

    metric: str
    published: float | None
    reproduced: float | None
    difference: float | None


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        outcome: `identical bytes` if the weights before and after training and all compared values are equal.
        student_identical: Whether the weights of the students are bitwise identical.
        undistilled_identical: Whether the weights before the first training step are bitwise identical.
        n_metrics: Number of compared values.
        differences: The values that differ, sorted by decreasing difference.
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
    """Compare two students by their reports.

    Args:
        published: `distill.json` and `scores.json` of the published student, by file name.
        reproduced: The same files of the reproduced student.
        tolerance: Largest absolute difference that counts as equal, in the unit of each value.
    """
    student, undistilled = (
        bool(published[DISTILL].get(key))
        and published[DISTILL].get(key) == reproduced[DISTILL].get(key)
        for key in ("student_sha256", "undistilled_sha256")
    )
    before, after = _figures(published), _figures(reproduced)
    every = sorted(before.keys() | after.keys())
    pairs = [(name, before.get(name), after.get(name)) for name in every]
    apart = [
        Difference(name, old, new, None if old is None or new is None else new - old)
        for name, old, new in pairs
        if old != new
    ]
    apart.sort(key=_distance, reverse=True)
    outcome: Outcome = "different"
    if student and undistilled and not apart:
        outcome = "identical bytes"
    elif all(_distance(one) <= tolerance for one in apart):
        outcome = "within tolerance"
    return Comparison(outcome, student, undistilled, len(every), tuple(apart))


def _figures(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return every score and held-out loss by its path, such as `scores/student/sts/simlex`."""
    distillation = reports[DISTILL]
    tree = {
        "held_out": distillation.get("held_out", {}),
        "held_out_mean": distillation["held_out_mean"],
        "scores": reports[SCORES],
    }
    figures = pd.json_normalize(tree, sep="/").iloc[0].astype(float)
    return {str(name): value for name, value in figures.to_dict().items()}


def _distance(one: Difference) -> float:
    return math.inf if one.difference is None else abs(one.difference)
