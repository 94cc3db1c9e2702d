from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from polydistill.contracts import Embeddings
from polydistill.errors import DataError
from polydistill.evaluation.benchmark import run_task
from polydistill.evaluation.encoder import LookupEncoder
from polydistill.evaluation.task import TaskSource
from polydistill.evaluation.tasks import BENCHMARKS

pytest.importorskip("mteb")


def candidates(n_pools: int = 12, in_pool: int = 7) -> pd.DataFrame:
    """One query per pool, with two relevant candidates; the other candidates have no label."""
    rows: list[dict[str, str | None]] = []
    for pool in range(n_pools):
        rows.append({"role": "query", "pool": f"p{pool}", "label": "right"})
        labels = ["right", "right", *[None] * (in_pool - 2)]
        rows += [{"role": "corpus", "pool": f"p{pool}", "label": label} for label in labels]
    names = [f"row-{number:03}" for number in range(len(rows))]
    return pd.DataFrame(rows).assign(id=names, text=names)


def source(frame: pd.DataFrame) -> TaskSource:
    return TaskSource("toy", frame, "text", str)


def test_the_score_is_the_mean_average_precision_within_pools() -> None:
    frame = candidates()
    vectors = np.random.default_rng(0).normal(size=(len(frame), 5)).astype(np.float32)
    ids = frame["text"].tolist()
    encoder = LookupEncoder("m", "r", ids, Embeddings(vectors, np.ones(len(ids), np.bool_)))

    run = run_task(encoder, BENCHMARKS.get("reranking")(source(frame)))

    expected = []
    for _, pool in frame.groupby("pool", sort=False):
        query, rows = (pool[pool["role"] == role] for role in ("query", "corpus"))
        cosines = encoder.look_up(rows["text"]) @ encoder.look_up(query["text"])[0]
        expected.append(average_precision_score(rows["label"].notna(), cosines))
    assert run.predictions["score"].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert run.score == pytest.approx(np.mean(expected), abs=1e-6)
    assert run.result["scores"]["test"][0]["mrr_at_10"] > 0


def test_a_query_whose_pool_has_nothing_relevant_is_named() -> None:
    frame = candidates()
    frame.loc[(frame["pool"] == "p3") & (frame["role"] == "corpus"), "label"] = None

    with pytest.raises(DataError, match=r"query 'row-024'.*'right' in its pool 'p3', got none"):
        BENCHMARKS.get("reranking")(source(frame))


def test_a_table_without_pools_is_refused() -> None:
    with pytest.raises(DataError, match="must have a column 'pool', got none"):
        BENCHMARKS.get("reranking")(source(candidates().drop(columns="pool")))
