from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from polydistill.contracts import Embeddings
from polydistill.errors import DataError
from polydistill.evaluation.benchmark import run_task
from polydistill.evaluation.encoder import LookupEncoder
from polydistill.evaluation.task import TaskSource
from polydistill.evaluation.tasks import BENCHMARKS
from polydistill.evaluation.tasks.classification import INVERSE_PENALTY

pytest.importorskip("mteb")


def test_a_label_that_only_the_test_split_has_is_named() -> None:
    frame = pd.DataFrame(
        {
            "id": ["1", "2", "3"],
            "text": ["a", "b", "c"],
            "label": ["x", "y", "z"],
            "split": ["train", "train", "test"],
        }
    )

    with pytest.raises(DataError, match="no training row has the label 'z'"):
        BENCHMARKS.get("classification")(TaskSource("toy", frame, "text", str))


def test_helpers_are_no_task_kinds() -> None:
    assert {"classification", "sts"} <= set(BENCHMARKS.names())
    assert not {"-task", "-run", "-encoder", "-influence"} & set(BENCHMARKS.names())


def test_the_probe_is_scikit_learns_regression_run_until_nothing_moves() -> None:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(300, 8)).astype(np.float32)
    classes = (vectors[:, :3] + 0.8 * draw.normal(size=(300, 3))).argmax(axis=1)
    split = np.where(np.arange(300) % 3 == 0, "test", "train")
    ids = [f"row-{number}" for number in range(300)]
    frame = pd.DataFrame({"id": ids, "text": ids, "label": classes.astype(str), "split": split})
    task = BENCHMARKS.get("classification")(TaskSource("toy", frame, "text", str))
    encoder = LookupEncoder("m", "r", ids, Embeddings(vectors, np.ones(300, np.bool_)))

    run = run_task(encoder, task)

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    train, test = split == "train", split == "test"
    scaler = StandardScaler().fit(unit[train])
    converged = LogisticRegression(C=INVERSE_PENALTY, max_iter=10_000, tol=1e-10)
    converged.fit(scaler.transform(unit[train]), classes[train])
    expected = converged.predict(scaler.transform(unit[test]))
    assert run.predictions["prediction"].tolist() == expected.astype(str).tolist()
    assert run.score == pytest.approx((expected == classes[test]).mean())
    assert 0.5 < run.score < 0.95
