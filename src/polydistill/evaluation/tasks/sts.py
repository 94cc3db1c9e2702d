"""Semantic similarity: cosines of pairs of embeddings, compared with human ratings, without a probe."""

from typing import Any

import numpy as np

from polydistill.evaluation.statistics.influence import spearman_scores
from polydistill.evaluation.task import BenchmarkTask, TaskSource
from polydistill.evaluation.tasks import BENCHMARKS
from polydistill.evaluation.tasks._pairs import pair_task


@BENCHMARKS.register("sts")
def sts(source: TaskSource) -> BenchmarkTask:
    """Return a task that measures Spearman's correlation between the cosines and the ratings of all pairs."""
    from mteb.abstasks import AbsTaskSTS

    labels = source.frame["label"].astype(float)

    class LocalSTS(AbsTaskSTS):
        min_score: Any = float(labels.min())
        max_score: Any = float(max(labels.max(), labels.min() + 1e-9))

        def _calculate_scores(self, scores: Any, normalized_scores: Any) -> Any:
            found: dict[str, Any] = {**super()._calculate_scores(scores, normalized_scores)}
            # A model with the same similarity for every pair scores 0 instead of NaN.
            return {name: float(np.nan_to_num(score)) for name, score in found.items()}

    return pair_task(
        source,
        LocalSTS,
        ("score", labels.tolist()),
        lambda cosines: spearman_scores(cosines, labels),
        type="STS",
        main_score="cosine_spearman",
        description="Cosine against ratings.",
    )
