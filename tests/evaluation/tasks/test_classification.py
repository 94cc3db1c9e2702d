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


def few_shot_frame() -> pd.DataFrame:
    names = [f"row-{number}" for number in range(120)]
    return pd.DataFrame(
        {
            "id": names,
            "text": names,
            "label": [f"class {number % 3}" for number in range(120)],
            "split": np.where(np.arange(120) % 4 == 0, "test", "train"),
        }
    )


def test_a_few_shot_probe_is_fitted_once_per_seed_on_rows_drawn_by_content() -> None:
    frame = few_shot_frame()
    vectors = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
    vectors[:, :3] += np.eye(3)[np.arange(120) % 3]
    encoder = LookupEncoder(
        "m", "r", frame["text"].tolist(), Embeddings(vectors, np.ones(120, np.bool_))
    )
    build = BENCHMARKS.get("classification")

    whole = run_task(encoder, build(TaskSource("toy", frame, "text", str, (4, 5))))
    few = run_task(encoder, build(TaskSource("toy", frame, "text", str, (4, 5), shots=3)))
    shuffled = frame.sample(frac=1, random_state=1)
    again = run_task(encoder, build(TaskSource("toy", shuffled, "text", str, (4, 5), shots=3)))

    by_seed = few.predictions.groupby("seed")["score"].mean()
    assert list(by_seed.index) == [4, 5]
    assert by_seed[4] != by_seed[5]
    assert few.score == pytest.approx(by_seed.mean())
    assert few.score == again.score
    assert few.score < whole.score
    assert whole.predictions["seed"].eq(4).all()


def test_a_few_shot_probe_has_the_given_number_of_rows_per_label() -> None:
    frame = few_shot_frame()
    task = BENCHMARKS.get("classification")(TaskSource("toy", frame, "text", str, (4, 5), shots=3))

    train = frame[frame["split"] == "train"].reset_index(drop=True)
    first, second = (task.mteb._undersample_data(None, number)[2] for number in (0, 1))
    assert train["label"].iloc[first].value_counts().eq(3).all()
    assert train["label"].iloc[first].nunique() == 3
    assert first != second


def test_a_label_with_too_few_training_rows_is_named() -> None:
    frame = few_shot_frame()
    frame.loc[(frame["split"] == "train") & (frame["label"] == "class 1"), "label"] = "class 0"
    frame.loc[1:2, "label"] = "class 1"

    with pytest.raises(DataError, match=r"at least 10 training rows for `shots`, 'class 1' has 2"):
        BENCHMARKS.get("classification")(TaskSource("toy", frame, "text", str, shots=10))
