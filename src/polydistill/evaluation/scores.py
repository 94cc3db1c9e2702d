"""Main scores of models on benchmark tasks, and their means over task kinds."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from polydistill.config.data import TaskParams
from polydistill.errors import MissingDataError

Scores = dict[str, dict[str, dict[str, float]]]
"""Main scores by model, task kind and task, in [-1, 1]."""


def read_scores(path: Path) -> Scores:
    """Read `scores.json`.

    Raises:
        MissingDataError: The evaluate stage has not written it.
    """
    if not path.exists():
        raise MissingDataError(f"No file {path}: run the evaluate stage first.")
    scores: Scores = json.loads(path.read_text(encoding="utf-8"))
    return scores


def kind_means(
    scores: Scores, tasks: Mapping[str, TaskParams], domain: str | None = None
) -> dict[str, dict[str, float]]:
    """Return mean main scores by model and task kind, over all tasks or those of one domain (`in`, `out`)."""
    means: dict[str, dict[str, float]] = {}
    for model, kinds in scores.items():
        means[model] = {}
        for kind, by_task in kinds.items():
            kept = [s for t, s in by_task.items() if domain is None or tasks[t].domain == domain]
            if kept:
                means[model][kind] = fmean(kept)
    return means


def mean_score(by_kind: Mapping[str, float]) -> float:
    """Return the mean over task kinds, each with the same weight however many tasks it has."""
    return fmean(by_kind.values())
