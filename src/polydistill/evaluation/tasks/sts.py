"""Semantic similarity: cosines of pairs of embeddings, compared with human ratings, without a probe."""

from typing import Any

import numpy as np
import pandas as pd

from polydistill.evaluation.statistics.influence import spearman_scores
from polydistill.evaluation.task import BenchmarkTask, TaskSource, local_task, prediction_frame
from polydistill.evaluation.tasks import BENCHMARKS


@BENCHMARKS.register("sts")
def sts(source: TaskSource) -> BenchmarkTask:
    """Return a task that measures Spearman's correlation between the cosines and the ratings of all pairs."""
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTaskSTS

    frame, labels = source.frame, source.frame["label"].astype(float)

    class LocalSTS(AbsTaskSTS):
        min_score: Any = float(labels.min())
        max_score: Any = float(max(labels.max(), labels.min() + 1e-9))

        def _calculate_scores(self, scores: Any, normalized_scores: Any) -> Any:
            found: dict[str, Any] = {**super()._calculate_scores(scores, normalized_scores)}
            # A model with the same similarity for every pair scores 0 instead of NaN.
            return {name: float(np.nan_to_num(score)) for name, score in found.items()}

    def predictions(saved: Any) -> pd.DataFrame:
        cosines = [float(value) for value in saved["cosine_scores"]]
        scores = spearman_scores(cosines, labels)
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
