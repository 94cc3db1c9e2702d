"""Semantic similarity: the cosine of a pair's embeddings against a human's rating; nothing is fitted."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

from polydistill.evaluation.statistics.influence import spearman_scores
from polydistill.evaluation.task import (
    BenchmarkTask,
    TaskSource,
    number_frame,
    task_metadata,
)
from polydistill.evaluation.tasks import BENCHMARKS


@BENCHMARKS.register("sts")
def sts(source: TaskSource) -> BenchmarkTask:
    """Measure Spearman's correlation of cosines and ratings, over all pairs.

    Raises:
        MissingExtraError: mteb is not installed.
    """
    main_score = "cosine_spearman"
    metadata_ = task_metadata(
        source, type_="STS", main_score=main_score, description="Cosine against ratings."
    )
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTaskSTS

    frame = source.frame
    labels = frame["label"].astype(float)

    class LocalSTS(AbsTaskSTS):  # type: ignore[misc,unused-ignore]
        metadata = metadata_
        min_score = cast("int", float(labels.min()))  # mteb says int, and divides by them
        max_score = cast("int", float(max(labels.max(), labels.min() + 1e-9)))

        def load_data(self, *_: Any, **__: Any) -> None:
            if self.data_loaded:
                return
            sides = {f"sentence{side}": source.contents(frame, side) for side in "12"}
            test = Dataset.from_dict({**sides, "score": labels.tolist()})
            self.dataset = DatasetDict({"test": test})
            self.data_loaded = True

        def _calculate_scores(self, scores: Any, normalized_scores: Any) -> Any:
            found = super()._calculate_scores(scores, normalized_scores)
            # A model that gives every pair the same similarity orders nothing: 0, not NaN.
            return {
                name: float(np.nan_to_num(cast("float", score))) for name, score in found.items()
            }

    task = LocalSTS()
    task.load_data()

    def predictions(saved: Any) -> pd.DataFrame:
        cosines = [float(value) for value in saved["cosine_scores"]]
        scores = spearman_scores(cosines, labels).tolist()
        return number_frame(frame["id"].tolist(), source.seeds[0], cosines, labels, scores)

    return BenchmarkTask(source.name, task, main_score, predictions)
