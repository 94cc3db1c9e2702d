from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor

from polydistill.config.params import task_params
from polydistill.config.training import EvaluationParams
from polydistill.contracts import Embeddings
from polydistill.data.modalities.text import TextModality
from polydistill.data.tables import benchmark_inputs
from polydistill.evaluation.benchmark import build_tasks, run_task
from polydistill.evaluation.encoder import LookupEncoder
from polydistill.evaluation.task import NETWORK, VALIDATION_SHARE, ProbeFittedOnce, TaskSource
from polydistill.evaluation.tasks import BENCHMARKS
from polydistill.evaluation.tasks.classification import INVERSE_PENALTY

Vectors = NDArray[np.float64]


def probe(kind: str, labels: Sequence[object]) -> Any:
    rows = {"id": [*map(str, range(4))], "text": list("abcd"), "label": labels}
    frame = pd.DataFrame({**rows, "split": ["train", "train", "test", "test"]})
    source = TaskSource("made", frame, "text", str, probe="mlp")
    return BENCHMARKS.get(kind)(source).mteb.evaluator_model


RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(400, 6))


def test_the_regressor_gives_back_the_weights_of_its_best_validation_score() -> None:
    target = np.sin(2 * POINTS[:, 0]) + 0.5 * RNG.normal(size=400)

    network = MLPRegressor(**NETWORK).fit(POINTS, target)

    scores = network.validation_scores_
    _, held, _, held_target = train_test_split(
        POINTS, target, random_state=np.random.RandomState(0), test_size=VALIDATION_SHARE
    )
    assert scores[-1] < max(scores)
    if r2_score(held_target, network.predict(held)) != pytest.approx(max(scores), abs=1e-6):
        # which rows are held out is scikit-learn's own affair: then the weights must be the best ones kept
        assert all(a is b for a, b in zip(network.coefs_, network._best_coefs, strict=True))


def test_the_classifier_gives_back_the_weights_of_its_best_validation_score() -> None:
    target = (POINTS[:, 0] * POINTS[:, 1] > 0).astype(int)

    network = MLPClassifier(**NETWORK).fit(POINTS, target)

    assert all(a is b for a, b in zip(network.coefs_, network._best_coefs, strict=True))
    assert network.best_validation_score_ == max(network.validation_scores_)
    assert accuracy_score(target, network.predict(POINTS)) > 0.8


def test_a_network_finds_what_no_line_does() -> None:
    target = np.abs(POINTS[:, 0]) * 100 + 300

    network = probe("regression", [0.1, 0.2, 0.1, 0.2])
    found = network.fit(POINTS[:300], target[:300]).predict(POINTS[300:])

    assert np.corrcoef(found, target[300:])[0, 1] > 0.8


def test_log_odds_order_two_classes_and_repeat() -> None:
    target = (POINTS[:, 0] > 0).astype(int)

    network = probe("binary-classification", list("xyxy"))
    odds, again = (network.fit(POINTS, target).predict(POINTS) for _ in range(2))

    assert np.array_equal(odds, again)
    assert np.isfinite(odds).all()
    assert pd.Series(odds).groupby(target).mean().diff().iloc[1] > 1


class CountingProbe:
    def __init__(self) -> None:
        self.fits = 0

    def fit(self, X: Vectors, y: NDArray[np.int64]) -> None:  # noqa: N803  scikit-learn's name
        self.fits += 1

    def predict(self, X: Vectors) -> Vectors:  # noqa: N803  scikit-learn's name
        return X[:, 0]

    def get_params(self, *, deep: bool = True) -> dict[str, object]:
        return {"deep": deep}


def test_a_shared_probe_is_fitted_again_only_to_other_rows() -> None:
    rows, labels = np.arange(6.0).reshape(3, 2), [0, 1, 1]
    counting = CountingProbe()
    probe = ProbeFittedOnce(counting)

    for given in ((rows, labels), (rows.copy(), [*labels])):
        probe.fit(*given)
    assert counting.fits == 1

    for given in ((rows + 1, labels), (rows + 1, [1, 1, 0]), (rows, labels)):
        probe.fit(*given)
    assert counting.fits == 4


def test_variants_share_the_probe_of_their_task_and_score_as_with_their_own() -> None:
    generator = np.random.default_rng(0)
    texts = [f"{word} {number}" for number in range(60) for word in ("sun", "moon")]
    frame = pd.DataFrame({"id": texts, "text": texts, "label": ["s", "m"] * 60})
    frame["split"] = np.where(np.arange(120) % 3 == 0, "test", "train")
    tasks = {"toy": task_params("toy", {"kind": "classification", "perturb": ["typos", "case"]})}
    kind = TextModality()
    inputs = benchmark_inputs({"toy": frame}, tasks, kind)
    vectors = generator.normal(size=(len(inputs), 4)).astype(np.float32)
    vectors[:, 0] += inputs["text"].str.lower().str.contains("s")
    present = np.ones(len(inputs), dtype=np.bool_)
    encoder = LookupEncoder("m", "r", inputs["id"].tolist(), Embeddings(vectors, present))

    built = build_tasks({"toy": frame}, tasks, EvaluationParams(), kind, variants=True)
    runs = [run_task(encoder, task) for task in built]

    assert [run.variant for run in runs] == ["", "typos", "case"]
    assert len({id(task.mteb.evaluator_model) for task in built}) == 1
    built[1].mteb.evaluator_model = TaskSource("toy", frame, "text", str).probe_on_standardised(
        *[LogisticRegression(C=INVERSE_PENALTY, max_iter=500, tol=1e-3)] * 2
    )
    assert run_task(encoder, built[1]).score == runs[1].score != runs[0].score
