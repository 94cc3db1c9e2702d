"""Retrieval: ranks examples by cosine and checks whether the nearest have the query's label, without a probe."""

from collections.abc import Sequence

import numpy as np

from polydistill.evaluation.task import BenchmarkTask, TaskSource
from polydistill.evaluation.tasks import BENCHMARKS
from polydistill.evaluation.tasks._rankings import Relevant, ranking_task

DEPTH = 10
"""Number of ranks that are scored."""
DEPTHS = (1, 3, 5, DEPTH, 20, 100)
"""Ranks at which mteb computes recall and its other metrics; mteb's 1,000 would need ten times the memory."""


@BENCHMARKS.register("retrieval")
def retrieval(source: TaskSource) -> BenchmarkTask:
    """Return a task that measures nDCG@10 of the corpus ranked by cosine with each query.

    See `ranking_task` for the rows. mteb's result also has `recall_at_10`.

    Raises:
        DataError: The column `role` is missing, no row is a query or in the corpus, or a query has no relevant row.

    References:
        Järvelin and Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques".
    """
    return ranking_task(
        source,
        _ndcg,
        depths=DEPTHS,
        type="Retrieval",
        main_score=f"ndcg_at_{DEPTH}",
        description="Nearest examples by cosine.",
    )


def _ndcg(ranking: Sequence[str], relevant: Relevant) -> float:
    """Return the discounted cumulative gain of the top ranks, divided by that of the ideal ranking, in [0, 1]."""
    discounts = 1 / np.log2(np.arange(DEPTH) + 2)
    gains = np.array([relevant.get(one, 0) for one in ranking[:DEPTH]], dtype=float)
    best = discounts[: min(len(relevant), DEPTH)].sum()
    return float((gains * discounts[: len(gains)]).sum() / best)
