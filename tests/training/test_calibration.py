from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from polydistill.contracts import FloatArray
from polydistill.losses import LOSSES
from polydistill.training.calibration import (
    Calibration,
    calibrate,
    coverage,
    fit_factor,
    mean_log_scale,
    mixture_moments,
    trains_scale,
)
from polydistill.training.dataset import group_mask
from tests.predictions import random_prediction

ROWS, DIM = 4000, 5
GROUPS = [str(row // 2) for row in range(ROWS)]
ALL = np.ones(ROWS, dtype=np.bool_)


def normal(*shape: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def calibrated(
    targets: FloatArray,
    scale: FloatArray,
    present: NDArray[np.bool_] = ALL,
    *,
    scale_is_trained: bool = True,
) -> Calibration:
    """Calibrate a head that predicts zero and `scale`."""
    return calibrate(
        {"one": (np.zeros_like(targets), np.broadcast_to(scale, targets.shape))},
        {"one": targets},
        {"one": present},
        GROUPS,
        scale_is_trained=scale_is_trained,
    )


def test_a_scale_that_is_half_the_truth_gets_the_factor_two() -> None:
    scales = np.exp(normal(ROWS, DIM, seed=1))

    result = calibrated(2 * scales * normal(ROWS, DIM), scales)

    assert result.factors["one"] == pytest.approx(2, abs=0.05)
    assert result.coverage_before["one"] == pytest.approx(0.589, abs=0.02)  # Φ(.822) - Φ(-.822)
    assert result.coverage_after["one"] == pytest.approx(0.9, abs=0.01)


def test_intervals_hold_nine_tenths_of_residuals_with_heavy_tails_too() -> None:
    draw = np.random.default_rng(0)
    tails = draw.standard_t(3, (ROWS, DIM)).astype(np.float32)

    result = calibrated(tails, np.ones(DIM, np.float32))

    assert result.coverage_after["one"] == pytest.approx(0.9, abs=0.01)
    assert result.factors["one"] < tails.std()  # what the greatest likelihood would take


def test_coverage_is_measured_on_groups_that_nothing_was_fitted_to() -> None:
    fitted = group_mask(GROUPS, 0.5, "calibration")
    targets = normal(ROWS, DIM) * np.where(fitted, 1, 10)[:, None].astype(np.float32)

    result = calibrated(targets, np.ones(DIM, np.float32))

    assert (fitted[::2] == fitted[1::2]).all()
    assert fitted.mean() == pytest.approx(0.5, abs=0.03)
    assert result.factors["one"] == pytest.approx(1, abs=0.03)
    assert result.coverage_after["one"] == pytest.approx(0.131, abs=0.02)  # 2 Φ(.1645) - 1


def test_rows_that_a_teacher_lacks_count_nowhere() -> None:
    present = np.arange(ROWS) % 3 > 0
    targets = normal(ROWS, DIM)
    elsewhere = np.where(present[:, None], targets, 1e6).astype(np.float32)

    scale = np.ones(DIM, np.float32)

    first, second = (calibrated(one, scale, present) for one in (targets, elsewhere))
    assert first == second


def test_a_teacher_without_held_out_rows_has_no_factor() -> None:
    result = calibrated(normal(ROWS, DIM), np.ones(DIM, np.float32), ~ALL)

    assert result.factors == result.coverage_before == result.coverage_after == {}


def test_a_scale_that_no_loss_has_trained_is_replaced_by_that_of_the_residuals() -> None:
    true = np.array([0.1, 0.5, 1, 2, 5], np.float32)

    result = calibrated(
        true * normal(ROWS, DIM), np.full(DIM, 100, np.float32), scale_is_trained=False
    )

    np.testing.assert_allclose(result.residual["one"], true, rtol=0.05)
    assert result.factors["one"] == pytest.approx(1, abs=0.03)
    assert result.coverage_after["one"] == pytest.approx(0.9, abs=0.01)
    assert result.novelty is None


def test_a_dimension_that_is_predicted_exactly_keeps_a_scale_above_zero() -> None:
    result = calibrated(
        np.zeros((ROWS, DIM), np.float32), np.ones(DIM, np.float32), scale_is_trained=False
    )

    assert (result.residual["one"] > 0).all()
    assert result.factors["one"] > 0


def test_the_gaussian_interval_holds_nine_tenths() -> None:
    assert coverage(normal(100_000)) == pytest.approx(0.9, abs=0.005)
    assert fit_factor(normal(100_000)) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("modes", [1, 2, 4])
def test_moments_are_those_of_torchs_mixture(modes: int) -> None:
    prediction, _ = random_prediction(3, modes, 5)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(
            logits=prediction.log_weights.unsqueeze(1).expand(3, 5, -1)
        ),
        torch.distributions.Normal(prediction.mean.mT, prediction.log_scale.exp().mT),
    )

    mean, std = mixture_moments(prediction)

    torch.testing.assert_close(mean, mixture.mean)
    torch.testing.assert_close(std, mixture.stddev)


def test_the_mean_log_scale_is_over_dimensions_not_over_teachers() -> None:
    narrow, wide = np.full((2, 1), np.e**4, np.float32), np.ones((2, 3), np.float32)

    assert mean_log_scale([narrow, wide]).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("gaussian-nll", True), ("beta-nll", True), ("mse", False), ("cosine", False)],
)
def test_a_loss_is_asked_whether_it_trains_the_scale(name: str, *, expected: bool) -> None:
    assert trains_scale(partial(LOSSES.get(name))) is expected


@pytest.mark.parametrize("kind", ["factor", "triangle"])
def test_the_moments_of_a_full_covariance_are_its_diagonal(kind: str) -> None:
    plain, _ = random_prediction(3, 1, 4)
    scales = torch.diag_embed(torch.exp(2 * plain.log_scale))
    draw = torch.Generator().manual_seed(0)
    if kind == "factor":
        free = torch.randn(1, 4, 2, generator=draw, dtype=torch.float64)
        covariance = scales + free @ free.mT
    else:
        noise = torch.randn(1, 4, 4, generator=draw, dtype=torch.float64)
        free = noise.tril(-1) + torch.eye(4, dtype=torch.float64)
        covariance = torch.linalg.inv(free @ torch.linalg.inv(scales) @ free.mT)

    _, std = mixture_moments(replace(plain, **{kind: free}))

    torch.testing.assert_close(std**2, covariance[:, 0].diagonal(dim1=-2, dim2=-1))
