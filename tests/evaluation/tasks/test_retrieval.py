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


@pytest.mark.parametrize("label", [None, "unlike any other"])
def test_distractors_are_ranked_and_never_relevant(label: str | None) -> None:
    rows = frame()
    rows.loc[40:, "label"] = label
    vectors = np.random.default_rng(0).normal(size=(len(rows), 6)).astype(np.float32)
    ids = [image.decode() for image in rows["image"]]
    encoder = LookupEncoder("m", "r", ids, Embeddings(vectors, np.ones(len(rows), np.bool_)))

    run = run_task(
        encoder, BENCHMARKS.get("retrieval")(TaskSource("toy", rows, "image", bytes.decode))
    )

    query, corpus = (rows[rows["role"] == role] for role in ("query", "corpus"))
    sides = (encoder.look_up(map(bytes.decode, side["image"])) for side in (query, corpus))
    cosines = np.matmul(next(sides), next(sides).T)
    relevant = query["label"].to_numpy()[:, None] == corpus["label"].fillna("").to_numpy()[None]
    nearest = np.argsort(-cosines, axis=1)[:, :10]
    found = np.take_along_axis(relevant, nearest, axis=1).sum(axis=1)
    assert run.score == pytest.approx(ndcg_score(relevant, cosines, k=10), abs=1e-6)
    recall = run.result["scores"]["test"][0]["recall_at_10"]
    assert recall == pytest.approx((found / relevant.sum(axis=1)).mean(), abs=1e-5)
    assert 0 < recall < 1


def test_only_the_nearest_rows_are_kept() -> None:
    ids = [f"{number}" for number in range(600)]
    vectors = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
    encoder = LookupEncoder("m", "r", ids, Embeddings(vectors, np.ones(600, np.bool_)))
    queries, corpus = ({"id": some, "text": some} for some in (ids[:300], ids[300:]))

    encoder.index(corpus)
    found = encoder.search(queries, top_k=3)

    cosines = encoder.look_up(ids[:300]) @ encoder.look_up(ids[300:]).T
    expected = np.argsort(-cosines, axis=1)[:, :3] + 300
    assert [sorted(map(int, found[one])) for one in ids[:300]] == np.sort(expected).tolist()
    assert found["7"][str(expected[7, 0])] == pytest.approx(cosines[7].max(), abs=1e-6)
