"""Clustering: k-means on frozen embeddings, with as many clusters as labels; no label is used in the fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from polydistill.evaluation.statistics.influence import v_measure_scores
from polydistill.evaluation.task import (
    BenchmarkTask,
    TaskSource,
    import_tasks,
    local_task,
    prediction_frame,
)
from polydistill.evaluation.tasks import BENCHMARKS


@BENCHMARKS.register("clustering")
def clustering(source: TaskSource) -> BenchmarkTask:
    """Return a task that measures the V-measure of all rows, averaged over seeds.

    Each seed is one of mteb's cluster sets: all rows in the seed's own order, which determines the result of mini-batch
    k-means. A prediction is the most frequent label of the example's cluster.

    Raises:
        MissingExtraError: mteb is not installed.
    """
    import_tasks(source.name)
    from datasets import Dataset, DatasetDict
    from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy

    frame = source.frame.assign(label=source.frame["label"].astype(str))
    orders = [np.random.default_rng(seed).permutation(len(frame)) for seed in source.seeds]
    sets = [frame.iloc[order] for order in orders]
    test = Dataset.from_dict(
        {
            "sentences": [source.contents(rows) for rows in sets],
            "labels": [rows["label"].tolist() for rows in sets],
        }
    )

    def predictions(saved: Any) -> pd.DataFrame:
        by_seed = zip(source.seeds, orders, saved, strict=True)
        return pd.concat(
            [_seed_predictions(frame, order, found, seed) for seed, order, found in by_seed],
            ignore_index=True,
        )

    return local_task(
        source,
        AbsTaskClusteringLegacy,
        DatasetDict({"test": test}),
        predictions,
        type="Clustering",
        main_score="v_measure",
        description="Mini-batch k-means, as many clusters as labels.",
    )


def _seed_predictions(
    frame: pd.DataFrame, order: np.ndarray[Any, np.dtype[np.int64]], clusters: list[int], seed: int
) -> pd.DataFrame:
    """Return one seed's predictions in the order of the table."""
    assigned = pd.Series(np.asarray(clusters)[np.argsort(order)], index=frame.index)
    majority = frame["label"].groupby(assigned).agg(lambda labels: labels.mode().iloc[0])
    return prediction_frame(
        frame["id"].tolist(),
        seed,
        assigned.map(majority).tolist(),
        frame["label"].tolist(),
        v_measure_scores(frame["label"].tolist(), assigned.tolist()).tolist(),
    )
