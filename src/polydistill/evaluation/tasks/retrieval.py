"""Retrieval: ranks examples by cosine and checks whether the nearest have the query's label, without a probe."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from polydistill.errors import DataError
from polydistill.evaluation.task import BenchmarkTask, TaskSource, local_task, prediction_frame
from polydistill.evaluation.tasks import BENCHMARKS

DEPTH = 10
"""Number of ranks that are scored."""


@BENCHMARKS.register("retrieval")
def retrieval(source: TaskSource) -> BenchmarkTask:
    """Return a task that measures nDCG@10 of the corpus ranked by cosine with each query.

    Each row with the `role` `query` is a query. The rows with the `role` `corpus` and the same label are relevant to
    it. A prediction is the label of the nearest row, and its score is the query's nDCG.

    Raises:
        DataError: The column `role` is missing, no row is a query or in the corpus, or a query has no relevant row.

    References:
        Järvelin and Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques".
    """
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval

    main_score = f"ndcg_at_{DEPTH}"
    roles = {name: source.rows("role", name) for name in ("query", "corpus")}
    wanted, labels = (
        dict(zip(rows["id"].astype(str), rows["label"].astype(str), strict=True))
        for rows in roles.values()
    )
    relevant = {
        query: {one: 1 for one, its in labels.items() if its == label}
        for query, label in wanted.items()
    }
    for query, found in relevant.items():
        if not found:
            raise DataError(
                f"Task {source.name!r}: query {query!r} must have a row of the corpus with its label "
                f"{wanted[query]!r}, got none."
            )

    class LocalRetrieval(AbsTaskRetrieval):
        def task_specific_scores(self, *given: Any, **_: Any) -> Any:
            results = given[2]  # cosines by query id and corpus id
            # mteb rounds its score to five digits; `run_task` needs the exact mean over the queries.
            ranks = [_ndcg(results.get(query, {}), relevant[query]) for query in wanted]
            return {main_score: float(np.mean(ranks))}

    def predictions(saved: Any) -> pd.DataFrame:
        rankings = [_ranking(saved.get(query, {})) for query in wanted]
        nearest = [labels[ranking[0]] if ranking else "" for ranking in rankings]
        scores = [_ndcg(saved.get(query, {}), relevant[query]) for query in wanted]
        return prediction_frame(wanted, source.seeds[0], nearest, wanted.values(), scores)

    queries, corpus = (
        Dataset.from_dict({"id": rows["id"].tolist(), "text": source.contents(rows)})
        for rows in roles.values()
    )
    test = {"corpus": corpus, "queries": queries, "relevant_docs": relevant, "top_ranked": None}
    return local_task(
        source,
        LocalRetrieval,
        {"default": {"test": test}},
        predictions,
        type="Retrieval",
        main_score=main_score,
        description="Nearest examples by cosine.",
    )


def _ranking(cosines: Mapping[str, float]) -> list[str]:
    """Return the corpus ids by decreasing cosine; ties are sorted by id."""
    return sorted(cosines, key=lambda one: (-cosines[one], one))


def _ndcg(cosines: Mapping[str, float], relevant: Mapping[str, int]) -> float:
    """Return the discounted cumulative gain of the top ranks, divided by that of the ideal ranking, in [0, 1]."""
    discounts = 1 / np.log2(np.arange(DEPTH) + 2)
    gains = np.array([relevant.get(one, 0) for one in _ranking(cosines)[:DEPTH]], dtype=float)
    best = discounts[: min(len(relevant), DEPTH)].sum()
    return float((gains * discounts[: len(gains)]).sum() / best)
