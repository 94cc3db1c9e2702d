from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from polydistill.errors import ShapeError
from polydistill.evaluation.statistics.bootstrap import Interval, interval, resampled_means


def paired_interval(
    champion: ArrayLike,
    challenger: ArrayLike,
    *,
    resamples: int = 10_000,
    generator: np.random.Generator,
) -> Interval:
    """Return the challenger's mean gain, with its interval."""
    gains = np.subtract(challenger, champion)
    means = resampled_means(gains, resamples=resamples, generator=generator)
    return interval(float(gains.mean()), means)


SCORES = st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=40)


def between(champion: list[float], challenger: list[float], seed: int = 0) -> Interval:
    return paired_interval(
        champion, challenger, resamples=300, generator=np.random.default_rng(seed)
    )


@settings(max_examples=30, deadline=None)
@given(SCORES)
def test_a_model_is_exactly_as_good_as_itself(scores: list[float]) -> None:
    assert between(scores, scores) == Interval(0.0, 0.0, 0.0)


@settings(max_examples=30, deadline=None)
@given(SCORES, st.floats(-1, 1, width=32))
def test_a_constant_gain_has_no_width(scores: list[float], gain: float) -> None:
    found = between(scores, [score + gain for score in scores])

    assert found.low == pytest.approx(gain, abs=1e-12)
    assert found.high == pytest.approx(gain, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(SCORES, st.integers(0, 2**31))
def test_swapping_the_models_mirrors_the_interval(scores: list[float], seed: int) -> None:
    other = list(reversed(scores))

    there, back = between(scores, other, seed), between(other, scores, seed)

    assert there.mean == pytest.approx(-back.mean, abs=1e-12)
    assert there.low == pytest.approx(-back.high, abs=1e-12)
    assert there.high == pytest.approx(-back.low, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(SCORES, st.floats(0.125, 8, width=32))
def test_scaling_the_scores_scales_the_interval(scores: list[float], factor: float) -> None:
    other = list(reversed(scores))

    plain = between(scores, other)
    scaled = between([s * factor for s in scores], [s * factor for s in other])

    assert scaled.low == pytest.approx(plain.low * factor, abs=1e-9)
    assert scaled.high == pytest.approx(plain.high * factor, abs=1e-9)


def test_the_interval_is_the_normal_one_for_many_examples() -> None:
    generator = np.random.default_rng(1)
    champion, challenger = generator.normal(size=(2, 2000))
    gains = challenger - champion

    found = paired_interval(champion, challenger, generator=generator)

    half = 1.959964 * gains.std() / np.sqrt(len(gains))
    assert found.mean == pytest.approx(gains.mean(), abs=1e-12)
    assert found.low == pytest.approx(gains.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(gains.mean() + half, abs=0.05 * half)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    held = 0

    for _ in range(200):
        champion, challenger = generator.normal(loc=[[0.0], [0.3]], size=(2, 80))
        found = paired_interval(champion, challenger, resamples=400, generator=generator)
        held += found.low <= 0.3 <= found.high

    assert 0.89 <= held / 200 <= 0.99


def test_pairing_finds_a_small_gain_among_examples_of_very_different_difficulty() -> None:
    generator = np.random.default_rng(3)
    champion = generator.normal(scale=10, size=300)
    challenger = champion + generator.normal(0.05, 0.1, size=300)

    assert paired_interval(champion, challenger, generator=generator).above_zero


def test_more_confidence_is_a_wider_interval() -> None:
    means = np.random.default_rng(4).normal(size=5000)

    assert interval(0.0, means, confidence=0.99).low < interval(0.0, means, confidence=0.9).low


def test_equal_generators_draw_equal_means_however_many_are_held_at_once() -> None:
    first, second = (
        resampled_means(np.arange(5.0), resamples=50, generator=np.random.default_rng(5))
        for _ in range(2)
    )

    assert (first == second).all()
    assert ((first >= 0) & (first <= 4)).all()


def test_examples_that_say_the_same_count_once_when_they_are_a_group() -> None:
    values = np.random.default_rng(6).normal(size=200)
    repeated, groups = np.repeat(values, 9), np.repeat(np.arange(200), 9)

    def spread(scores: np.ndarray, groups: np.ndarray | None) -> float:
        generator = np.random.default_rng(7)
        means = resampled_means(scores, groups=groups, resamples=4_000, generator=generator)
        assert means.mean() == pytest.approx(values.mean(), abs=0.01)
        return float(means.std())

    once = spread(values, None)
    assert spread(repeated, groups) == pytest.approx(once)
    assert spread(repeated, None) == pytest.approx(once / 3, rel=0.1)


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"`groups` must have shape \(3,\), got \(2,\)"):
        resampled_means(np.zeros(3), groups=["a", "b"], generator=np.random.default_rng())


@pytest.mark.parametrize("scores", [[], [[[1.0]]], [float("nan")]])
def test_other_than_rows_or_columns_of_numbers_is_refused(scores: list[float]) -> None:
    with pytest.raises(ShapeError, match="must be finite numbers"):
        resampled_means(scores, generator=np.random.default_rng())


def test_columns_are_drawn_together_as_each_is_alone() -> None:
    scores = np.random.default_rng(3).normal(size=(40, 3))
    groups = np.arange(40) // 3

    together = resampled_means(
        scores, groups=groups, resamples=50, generator=np.random.default_rng(5)
    )

    for place in range(3):
        alone = resampled_means(
            scores[:, place], groups=groups, resamples=50, generator=np.random.default_rng(5)
        )
        np.testing.assert_allclose(together[:, place], alone)
