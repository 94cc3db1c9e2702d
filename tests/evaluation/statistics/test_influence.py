from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score, v_measure_score

from polydistill.evaluation.statistics.influence import (
    auroc_scores,
    average_precision_scores,
    pearson_scores,
    spearman_scores,
    v_measure_scores,
)

Floats = NDArray[np.float64]


def correlated(seed: int, n: int) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(seed)
    first = generator.normal(size=n)
    return first, np.round(0.7 * first + 0.7 * generator.normal(size=n), 1)  # with ties


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(5, 200))
def test_the_mean_is_pearsons_correlation_as_scipy_says(seed: int, n: int) -> None:
    first, second = correlated(seed, n)

    assert pearson_scores(first, second).mean() == pytest.approx(pearsonr(first, second)[0])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(5, 200))
def test_the_mean_is_spearmans_correlation_as_scipy_says(seed: int, n: int) -> None:
    first, second = correlated(seed, n)

    assert spearman_scores(first, second).mean() == pytest.approx(spearmanr(first, second)[0])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=80))
def test_the_mean_is_the_v_measure_as_sklearn_says(pairs: list[tuple[str, int]]) -> None:
    labels, clusters = [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    found = v_measure_scores(labels, clusters).mean()

    assert found == pytest.approx(v_measure_score(labels, clusters), abs=1e-9)


def test_names_of_clusters_do_not_matter() -> None:
    labels = list("aabbccab")

    first = v_measure_scores(labels, [0, 0, 1, 1, 2, 2, 0, 2])
    renamed = v_measure_scores(labels, [7, 7, 5, 5, 9, 9, 7, 9])

    assert first == pytest.approx(renamed)


@pytest.mark.parametrize("scores", [pearson_scores, spearman_scores])
def test_a_constant_side_scores_zero(scores: Callable[[Floats, Floats], Floats]) -> None:
    assert not scores(np.full(6, 0.1), np.arange(6.0)).any()


def test_resampled_means_spread_as_the_resampled_correlation_does() -> None:
    first, second = correlated(0, 400)
    scores = pearson_scores(first, second)
    generator = np.random.default_rng(1)

    rows = generator.integers(0, 400, (2000, 400))
    means = scores[rows].mean(axis=1)
    correlations = [pearsonr(first[row], second[row])[0] for row in rows]

    assert means.std() == pytest.approx(np.std(correlations), rel=0.1)


def test_resampled_means_spread_as_the_resampled_v_measure_does() -> None:
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 4, 800)
    clusters = np.where(generator.random(800) < 0.7, labels, generator.integers(0, 4, 800))
    scores = v_measure_scores(labels.tolist(), clusters.tolist())

    rows = generator.integers(0, 800, (500, 800))
    means = scores[rows].mean(axis=1)
    measures = [v_measure_score(labels[row], clusters[row]) for row in rows]

    assert means.std() == pytest.approx(np.std(measures), rel=0.15)


def test_the_mean_is_scikit_learns_area_under_the_curve_ties_included() -> None:
    generator = np.random.default_rng(3)
    truth = generator.random(300) < 0.2
    decisions = np.round(generator.normal(size=300) + truth, 1)

    scores = auroc_scores(truth, decisions)

    assert scores.mean() == pytest.approx(roc_auc_score(truth, decisions), abs=1e-12)


def test_resampled_means_spread_as_the_resampled_area_does() -> None:
    generator = np.random.default_rng(4)
    truth = generator.random(500) < 0.3
    decisions = generator.normal(size=500) + truth
    scores = auroc_scores(truth, decisions)

    rows = generator.integers(0, 500, (1000, 500))
    areas = [roc_auc_score(truth[row], decisions[row]) for row in rows]

    assert scores[rows].mean(axis=1).std() == pytest.approx(np.std(areas), rel=0.1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60).filter(
        lambda pairs: len({label for label, _ in pairs}) == 2
    )
)
def test_the_mean_is_scikit_learns_average_precision_ties_included(
    pairs: list[tuple[bool, int]],
) -> None:
    truth, decisions = [pair[0] for pair in pairs], [pair[1] / 7 for pair in pairs]

    found = average_precision_scores(truth, decisions).mean()

    assert found == pytest.approx(average_precision_score(truth, decisions), abs=1e-12)


def test_resampled_means_spread_as_the_resampled_average_precision_does() -> None:
    generator = np.random.default_rng(5)
    truth = generator.random(600) < 0.3
    decisions = np.round(generator.normal(size=600) + truth, 1)
    scores = average_precision_scores(truth, decisions)

    rows = generator.integers(0, 600, (1000, 600))
    precisions = [average_precision_score(truth[row], decisions[row]) for row in rows]

    assert scores[rows].mean(axis=1).std() == pytest.approx(np.std(precisions), rel=0.1)
