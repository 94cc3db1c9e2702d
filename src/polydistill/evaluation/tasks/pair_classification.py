"""Pair classification: cosines of pairs of embeddings, compared with labels 0 and 1, without a probe."""

from typing import Any

import pandas as pd

from polydistill.errors import DataError, short
from polydistill.evaluation.statistics.influence import average_precision_scores
from polydistill.evaluation.task import BenchmarkTask, TaskSource, local_task, prediction_frame
from polydistill.evaluation.tasks import BENCHMARKS


@BENCHMARKS.register("pair-classification")
def pair_classification(source: TaskSource) -> BenchmarkTask:
    """Return a task that measures the average precision of all pairs ranked by cosine.

    A prediction is the pair's cosine. Pairs with the label 1 belong together; all other pairs have the label 0.

    Raises:
        DataError: The labels are not 0 and 1, or all pairs have the same label.
    """
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTaskPairClassification

    frame, labels = source.frame, source.frame["label"].astype(str)
    if (found := sorted(set(labels))) != ["0", "1"]:
        raise DataError(
            f"Task {source.name!r} must have pairs with the label 1 and pairs with the label 0, got only "
            f"{short(', '.join(found))}."
        )
    truth = labels.astype(int).tolist()

    def predictions(saved: Any) -> pd.DataFrame:
        cosines = [float(value) for value in saved["cosine_scores"]]
        scores = average_precision_scores(truth, cosines)
        return prediction_frame(frame["id"], source.seeds[0], cosines, truth, scores)

    sides = {f"sentence{side}": source.contents(frame, side) for side in "12"}
    test = Dataset.from_dict({**sides, "labels": truth})
    return local_task(
        source,
        AbsTaskPairClassification,
        DatasetDict({"test": test}),
        predictions,
        type="PairClassification",
        main_score="cosine_ap",
        description="Cosine against labels 0 and 1.",
    )
