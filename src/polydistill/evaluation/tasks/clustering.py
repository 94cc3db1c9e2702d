"""Clustering: k-means on frozen embeddings, with as many clusters as labels; labels are not used in the fit."""

from typing import Any

import numpy as np
import pandas as pd

from polydistill.evaluation.statistics.influence import v_measure_scores
from polydistill.evaluation.task import BenchmarkTask, TaskSource, local_task, prediction_frame
from polydistill.evaluation.tasks import BENCHMARKS


@BENCHMARKS.register("clustering")
def clustering(source: TaskSource) -> BenchmarkTask:
    """Return a task that measures the V-measure of all rows, averaged over seeds.

    Each seed defines one of mteb's cluster sets: all rows, in an order drawn with the seed. The order determines the
    result of mini-batch k-means. A prediction is the most frequent label of the example's cluster.
    """
    from datasets import Dataset, DatasetDict
    from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy

    labels = source.frame["label"].astype(str)
    orders = [np.random.default_rng(seed).permutation(len(labels)) for seed in source.seeds]
    sets = {
        "sentences": [source.contents(source.frame.iloc[order]) for order in orders],
        "labels": [labels.iloc[order].tolist() for order in orders],
    }

    def predictions(saved: Any) -> pd.DataFrame:
        frames = []
        for seed, order, clusters in zip(source.seeds, orders, saved, strict=True):
            assigned = pd.Series(np.asarray(clusters)[np.argsort(order)], index=labels.index)
            majority = labels.groupby(assigned).agg(lambda members: members.mode().iloc[0])
            scores = v_measure_scores(labels.tolist(), assigned.tolist())
            predicted = assigned.map(majority)
            frames.append(prediction_frame(source.frame["id"], seed, predicted, labels, scores))
        return pd.concat(frames, ignore_index=True)

    return local_task(
        source,
        AbsTaskClusteringLegacy,
        DatasetDict({"test": Dataset.from_dict(sets)}),
        predictions,
        type="Clustering",
        main_score="v_measure",
        description="Mini-batch k-means, as many clusters as labels.",
    )
