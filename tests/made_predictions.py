"""Predictions with known means, so that the result of a comparison is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from polydistill.config.data import TaskParams

TASKS = {
    "topics": TaskParams(kind="classification", path="a", domain="in"),
    "clusters": TaskParams(kind="clustering", path="a", domain="in"),
    "tweets": TaskParams(kind="regression", path="b", domain="out"),
    "news": TaskParams(kind="regression", path="c", domain="out"),
}
ROWS = 200


def made_table(
    seed: int, levels: Mapping[str, float], shifts: Mapping[tuple[str, str], float] | None = None
) -> pd.DataFrame:
    """Return one seed's predictions. Each model's mean score on each task is exactly its level.

    Args:
        seed: The seed of the noise between models; an example's difficulty does not depend on it.
        levels: The mean score of each model.
        shifts: What to add to the mean score, by model and task.
    """
    noise, hard = np.random.default_rng(seed), np.random.default_rng(9).normal(size=ROWS)
    frames = []
    for task in TASKS:
        for model, level in levels.items():
            scatter = hard + noise.normal(scale=0.1, size=ROWS)
            mean = level + (shifts or {}).get((model, task), 0.0)
            frames.append(
                pd.DataFrame(
                    {
                        "task": task,
                        "example": range(ROWS),
                        "seed": 0,
                        "model": model,
                        "score": mean + scatter - scatter.mean(),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)
