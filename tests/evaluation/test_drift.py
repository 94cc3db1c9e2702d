from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.metrics.pairwise import rbf_kernel

from polydistill.errors import ShapeError
from polydistill.evaluation.drift import mmd_test


def rows(seed: int, n: int, dim: int = 4, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1.0, (n, dim))


def test_the_estimate_is_the_unbiased_one_by_another_kernel() -> None:
    first, second = rows(0, 12), rows(1, 7, shift=0.5)

    test = mmd_test(first, second, permutations=9, generator=np.random.default_rng(0))

    gamma = 1 / (2 * test.bandwidth**2)
    same = [
        (kernel.sum() - len(side)) / (len(side) * (len(side) - 1))
        for side in (first, second)
        for kernel in [rbf_kernel(side, gamma=gamma)]
    ]
    expected = sum(same) - 2 * rbf_kernel(first, second, gamma=gamma).mean()
    assert test.mmd2 == pytest.approx(expected, abs=1e-12)


def test_the_bandwidth_is_the_median_distance_of_the_pooled_rows() -> None:
    test = mmd_test(
        [[0.0], [1.0]], [[3.0], [7.0]], permutations=1, generator=np.random.default_rng(0)
    )

    assert test.bandwidth == pytest.approx(3.5)  # of 1, 2, 3, 4, 6, 7


def test_under_the_null_p_values_are_uniform() -> None:
    values = [
        mmd_test(
            rows(2 * seed, 30),
            rows(2 * seed + 1, 20),
            permutations=99,
            generator=np.random.default_rng(seed),
        ).p
        for seed in range(1000)
    ]

    steps = np.asarray(values) - np.random.default_rng(0).uniform(0, 0.01, 1000)  # p has 100 steps
    assert kstest(steps, "uniform").pvalue > 0.01
    assert np.mean(np.asarray(values) <= 0.05) == pytest.approx(0.05, abs=0.02)


def test_a_shift_a_scale_and_a_lost_cluster_are_found() -> None:
    reference = rows(0, 200)
    narrow = rows(1, 200) * 0.6
    clusters = np.repeat([[0.0], [6.0]], 100, axis=0)

    ps = [
        mmd_test(one, other, permutations=199, generator=np.random.default_rng(0)).p
        for one, other in (
            (reference, rows(1, 200, shift=0.4)),
            (reference, narrow),
            (rows(2, 200) + clusters, rows(3, 100)),
        )
    ]

    assert ps == [1 / 200] * 3


def test_rows_that_are_all_equal_are_no_drift() -> None:
    test = mmd_test(
        np.ones((5, 3)), np.ones((4, 3)), permutations=99, generator=np.random.default_rng(0)
    )

    assert test.mmd2 == pytest.approx(0.0, abs=1e-12)
    assert test.p == 1.0


def test_moving_all_rows_together_changes_nothing() -> None:
    first, second = rows(0, 20), rows(1, 20, shift=0.3)

    tests = [
        mmd_test(first + by, second + by, permutations=99, generator=np.random.default_rng(0))
        for by in (0.0, 1000.0)
    ]

    assert tests[0].p == tests[1].p
    assert tests[0].mmd2 == pytest.approx(tests[1].mmd2, abs=1e-9)


@pytest.mark.parametrize(
    ("incoming", "says"),
    [
        (np.ones((3, 5)), "width 5, as `incoming`, got 4"),
        (np.ones((1, 4)), r"2 or more, dim\) and finite"),
        (np.full((3, 4), np.nan), "finite"),
    ],
)
def test_samples_that_cannot_be_compared_are_refused(incoming: np.ndarray, says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        mmd_test(rows(0, 5), incoming, generator=np.random.default_rng(0))
