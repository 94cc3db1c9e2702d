from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import ndcg_score

from polydistill.contracts import Embeddings
from polydistill.errors import DataError
from polydistill.evaluation.benchmark import run_task
from polydistill.evaluation.encoder import LookupEncoder
from polydistill.evaluation.task import TaskSource
from polydistill.evaluation.tasks import BENCHMARKS

pytest.importorskip("mteb")


def frame(n: int = 60) -> pd.DataFrame:
    numbers = np.arange(n)
    return pd.DataFrame(
        {
            "id": [f"row-{number}" for number in numbers],
            "image": [f"image {number}".encode() for number in numbers],
            "label": [f"emoji {number % 5}" for number in numbers],
            "role": np.where(numbers < n // 4, "query", "corpus"),
        }
    )


def test_the_score_is_the_mean_of_scikit_learns_ndcg() -> None:
    rows = frame()
    vectors = np.random.default_rng(0).normal(size=(len(rows), 6)).astype(np.float32)
    ids = [image.decode() for image in rows["image"]]
    encoder = LookupEncoder("m", "r", ids, Embeddings(vectors, np.ones(len(rows), np.bool_)))

    run = run_task(
        encoder, BENCHMARKS.get("retrieval")(TaskSource("toy", rows, "image", bytes.decode))
    )

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    query, corpus = (rows["role"] == "query").to_numpy(), (rows["role"] == "corpus").to_numpy()
    labels = rows["label"].to_numpy()
    relevant = labels[query][:, None] == labels[corpus][None]
    expected = ndcg_score(relevant, unit[query] @ unit[corpus].T, k=10)
    assert run.score == pytest.approx(expected, abs=1e-6)
    assert run.score < 0.9


def test_a_query_without_anything_to_find_is_named() -> None:
    rows = frame()
    rows.loc[3, "label"] = "unicorn"

    with pytest.raises(DataError, match=r"query 'row-3'.*'unicorn', got none"):
        BENCHMARKS.get("retrieval")(TaskSource("toy", rows, "image", bytes.decode))


def test_a_table_without_queries_is_refused() -> None:
    with pytest.raises(DataError, match="no row whose role is 'query'"):
        BENCHMARKS.get("retrieval")(
            TaskSource("toy", frame().assign(role="corpus"), "image", bytes.decode)
        )
