"""Reranking: each query orders its own candidates by cosine, without a probe."""

from collections.abc import Sequence

import numpy as np

from polydistill.evaluation.task import BenchmarkTask, TaskSource
from polydistill.evaluation.tasks import BENCHMARKS
from polydistill.evaluation.tasks._rankings import Relevant, ranking_task

DEPTHS = (1, 3, 5, 10, 1000)


@BENCHMARKS.register("reranking")
def reranking(source: TaskSource) -> BenchmarkTask:
    """Return a task that measures the mean average precision of the candidates ranked by cosine with each query.

    The candidates of a query are the rows of the corpus with the same value in the column `pool`; see `ranking_task`
    for the other columns.

    Raises:
        DataError: The column `role` or `pool` is missing, no row is a query or in the corpus, or no candidate of a
            query is relevant.
    """
    return ranking_task(
        source,
        _average_precision,
        within="pool",
        depths=DEPTHS,
        type="Reranking",
        main_score=f"map_at_{DEPTHS[-1]}",
        description="A query's candidates by cosine.",
    )


def _average_precision(ranking: Sequence[str], relevant: Relevant) -> float:
    """Return the mean precision at the ranks of the relevant candidates, in [0, 1]; one that is not ranked counts 0."""
    hits = np.array([one in relevant for one in ranking[: DEPTHS[-1]]], dtype=float)
    precisions = hits.cumsum() / (np.arange(len(hits)) + 1)
    return float((precisions * hits).sum() / len(relevant))
