"""Semantic similarity: cosines of pairs of embeddings, compared with human ratings; nothing is fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from polydistill.evaluation.statistics.influence import spearman_scores
from polydistill.evaluation.task import (
    BenchmarkTask,
    TaskSource,
    import_tasks,
    local_task,
    prediction_frame,
)
from polydistill.evaluation.tasks import BENCHMARKS


@BENCHMARKS.register("sts")
def sts(source: TaskSource) -> BenchmarkTask:
    """Return a task that measures Spearman's correlation of cosines and ratings over all pairs.

    Raises:
        MissingExtraError: mteb is not installed.
    """
    abstasks = import_tasks(source.name)
    from datasets import Dataset, DatasetDict

    frame = source.frame
    labels = frame["label"].astype(float)

    class LocalSTS(abstasks.AbsTaskSTS):  # type: ignore[misc,name-defined]
        min_score = float(labels.min())
        max_score = float(max(labels.max(), labels.min() + 1e-9))

        def _calculate_scores(self, scores: Any, normalized_scores: Any) -> Any:
            found = super()._calculate_scores(scores, normalized_scores)
            # A model with the same similarity for every pair scores 0 instead of NaN.
            return {name: float(np.nan_to_num(score)) for name, score in found.items()}

    def predictions(saved: Any) -> pd.DataFrame:
        cosines = [float(value) for value in saved["cosine_scores"]]
        scores = spearman_scores(cosines, labels).tolist()
        return prediction_frame(frame["id"], source.seeds[0], cosines, labels, scores)

    sides = {f"sentence{side}": source.contents(frame, side) for side in "12"}
    test = Dataset.from_dict({**sides, "score": labels.tolist()})
    return local_task(
        source,
        LocalSTS,
        DatasetDict({"test": test}),
        predictions,
        type="STS",
        main_score="cosine_spearman",
        description="Cosine against ratings.",
    )
