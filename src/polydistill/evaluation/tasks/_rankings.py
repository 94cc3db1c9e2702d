"""What retrieval and reranking share: an mteb task in which queries rank a corpus by cosine."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from polydistill.errors import DataError
from polydistill.evaluation.task import BenchmarkTask, TaskSource, local_task, prediction_frame

Relevant = Mapping[str, int]
"""The ids of the relevant rows of the corpus, each with the number 1."""
Metric = Callable[[Sequence[str], Relevant], float]
"""The score in [0, 1] of a ranking, the corpus ids by decreasing cosine."""


def ranking_task(
    source: TaskSource,
    metric: Metric,
    *,
    within: str | None = None,
    depths: Sequence[int],
    **metadata: str,
) -> BenchmarkTask:
    """Return a task in which each row with the `role` `query` ranks the rows with the `role` `corpus`.

    The rows of the corpus with the query's label are relevant to it. A row of the corpus without a label is relevant to
    no query. A prediction is the label of the nearest row, and its score is the metric of the query's ranking.

    Args:
        source: The task's rows.
        metric: The main score of one query.
        within: The column whose value a query shares with the rows that it ranks; None: it ranks the whole corpus.
        depths: The ranks at which mteb computes its metrics. mteb keeps the cosines of the greatest of them.
        metadata: See `task.local_task`.

    Raises:
        DataError: A column is missing, no row is a query or in the corpus, or a query has no relevant row.
    """
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval

    queries, corpus = (_rows(source, role, within) for role in ("query", "corpus"))
    labels = dict(zip(corpus["id"], corpus["label"].fillna("").astype(str), strict=True))
    relevant = _relevant(source, queries, corpus)
    candidates: dict[str, list[str]] | None = None
    if within is not None:
        pools = corpus.groupby("pool")["id"].agg(list).to_dict()
        candidates = {one: pools[pool] for one, pool in zip(queries["id"], queries["pool"], strict=True)}  # fmt: skip

    def score(cosines: Mapping[str, Mapping[str, float]], query: str) -> float:
        return metric(_ranking(cosines.get(query, {})), relevant[query])

    class LocalRetrieval(AbsTaskRetrieval):
        k_values = tuple(depths)

        def task_specific_scores(self, *given: Any, **_: Any) -> Any:
            # mteb rounds its score to five digits; `run_task` needs the exact mean over the queries.
            ranks = [score(given[2], query) for query in relevant]  # cosines by query and corpus id
            return {metadata["main_score"]: float(np.mean(ranks))}

    def predictions(saved: Any) -> pd.DataFrame:
        rankings = [_ranking(saved.get(query, {})) for query in relevant]
        nearest = [labels[ranking[0]] if ranking else "" for ranking in rankings]
        scores = [score(saved, query) for query in relevant]
        targets = queries["label"].astype(str)
        return prediction_frame(relevant, source.seeds[0], nearest, targets, scores)

    texts = (
        Dataset.from_dict({"id": rows["id"].tolist(), "text": source.contents(rows)})
        for rows in (queries, corpus)
    )
    test = dict(zip(("queries", "corpus"), texts, strict=True))
    test |= {"relevant_docs": relevant, "top_ranked": candidates}
    return local_task(source, LocalRetrieval, {"default": {"test": test}}, predictions, **metadata)


def _rows(source: TaskSource, role: str, within: str | None) -> pd.DataFrame:
    """Return the rows of a role with string ids, and with the column `pool`, which is empty without `within`."""
    rows = source.rows("role", role)
    if within is not None and within not in rows:
        raise DataError(f"Task {source.name!r} must have a column {within!r}, got none.")
    pool = "" if within is None else rows[within].astype(str)
    return rows.assign(id=rows["id"].astype(str), pool=pool)


def _relevant(
    source: TaskSource, queries: pd.DataFrame, corpus: pd.DataFrame
) -> dict[str, dict[str, int]]:
    """Return, for each query, the rows of its pool that have its label."""
    labelled = corpus[corpus["label"].notna()]
    keys = zip(labelled["pool"], labelled["label"].astype(str), labelled["id"], strict=True)
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for pool, label, one in keys:
        rows.setdefault((pool, label), {})[one] = 1
    found = {}
    asked = zip(queries["id"], queries["pool"], queries["label"].astype(str), strict=True)
    for query, pool, label in asked:
        if (pool, label) not in rows:
            where = f" in its pool {pool!r}" if pool else ""
            raise DataError(
                f"Task {source.name!r}: query {query!r} must have a row of the corpus with its label {label!r}{where}, "
                "got none."
            )
        found[query] = rows[pool, label]
    return found


def _ranking(cosines: Mapping[str, float]) -> list[str]:
    """Return the corpus ids by decreasing cosine; ties are sorted by id."""
    return sorted(cosines, key=lambda one: (-cosines[one], one))
