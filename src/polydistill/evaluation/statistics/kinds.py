"""Means over tasks and task kinds. Each kind has the same weight, regardless of its number of tasks."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

OVERALL = "mean"
"""Key of the mean over all kinds, in mappings whose other keys are the kinds."""
Scores = dict[str, dict[str, dict[str, float]]]
"""Main scores by model, task kind and task, in [-1, 1]: the content of `scores.json`."""


def kind_means(scores: Scores) -> dict[str, dict[str, float]]:
    """Return mean main scores by model and task kind.

    Examples:
        >>> kind_means({"student": {"sts": {"a": 0.25, "b": 0.75}, "regression": {"c": 1.0}}})
        {'student': {'sts': 0.5, 'regression': 1.0}}
    """
    return {
        model: {kind: fmean(by_task.values()) for kind, by_task in kinds.items() if by_task}
        for model, kinds in scores.items()
    }


def group_by_kind(kind_of: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the tasks of each task kind; kinds are sorted, and tasks keep their order.

    Examples:
        >>> group_by_kind({"pairs": "sts", "topics": "clustering", "words": "sts"})
        {'clustering': ['topics'], 'sts': ['pairs', 'words']}
    """
    kinds: dict[str, list[str]] = {}
    for task, kind in kind_of.items():
        kinds.setdefault(kind, []).append(task)
    return dict(sorted(kinds.items()))


def over_kinds(by_task: Mapping[str, Any], kind_of: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Return the mean of the tasks' values by task kind, and with the key `mean` the mean over the kinds.

    The values may be scores or the arrays that `resampled_means` returns.

    Args:
        by_task: A number for each task, or an array; all arrays have the same shape.
        kind_of: The kind of each task; tasks without a kind are ignored.

    Examples:
        >>> means = over_kinds({"a": 0.5, "b": 0.25, "c": 1.0}, {"a": "sts", "b": "sts", "c": "retrieval"})
        >>> {kind: float(mean) for kind, mean in means.items()}
        {'retrieval': 1.0, 'sts': 0.375, 'mean': 0.6875}
    """
    kinds = {
        kind: np.mean([by_task[task] for task in tasks], axis=0)
        for kind, tasks in group_by_kind(kind_of).items()
    }
    return {**kinds, OVERALL: np.mean(list(kinds.values()), axis=0)}
