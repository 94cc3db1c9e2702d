from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor

from polydistill.evaluation.task import NETWORK, VALIDATION_SHARE, TaskSource
from polydistill.evaluation.tasks import BENCHMARKS


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
