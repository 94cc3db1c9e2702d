"""Pair classification: cosines of pairs of embeddings, compared with labels 0 and 1, without a probe."""

from functools import partial

from polydistill.errors import DataError, short
from polydistill.evaluation.statistics.influence import average_precision_scores
from polydistill.evaluation.task import BenchmarkTask, TaskSource
from polydistill.evaluation.tasks import BENCHMARKS
from polydistill.evaluation.tasks._pairs import pair_task


@BENCHMARKS.register("pair-classification")
def pair_classification(source: TaskSource) -> BenchmarkTask:
    """Return a task that measures the average precision of all pairs ranked by cosine.

    A prediction is the pair's cosine. Pairs with the label 1 belong together; all other pairs have the label 0.

    Raises:
        DataError: The labels are not 0 and 1, or all pairs have the same label.
    """
    from mteb.abstasks import AbsTaskPairClassification

    labels = source.frame["label"].astype(str)
    if (found := sorted(set(labels))) != ["0", "1"]:
        raise DataError(
            f"Task {source.name!r} must have pairs with the label 1 and pairs with the label 0, got only "
            f"{short(', '.join(found))}."
        )
    truth = labels.astype(int).tolist()
    return pair_task(
        source,
        AbsTaskPairClassification,
        ("labels", truth),
        partial(average_precision_scores, truth),
        type="PairClassification",
        main_score="cosine_ap",
        description="Cosine against labels 0 and 1.",
    )
