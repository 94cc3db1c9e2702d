from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from polydistill.errors import ParamsError
from polydistill.losses.beta_nll import beta_nll
from polydistill.losses.gaussian_nll import gaussian_nll
from polydistill.losses.mse import mse
from tests.predictions import random_prediction


@pytest.mark.parametrize("beta", [0.25, 1.0])
def test_beta_keeps_the_value_and_scales_the_gradient_of_each_dimension(beta: float) -> None:
    prediction, target = random_prediction(6, 1, 3)
    mask = torch.ones(6, dtype=torch.bool)
    inputs = (prediction.mean, prediction.log_scale)

    plain = gaussian_nll(prediction, target, mask)
    weighted = beta_nll(prediction, target, mask, beta=beta)

    torch.testing.assert_close(weighted, plain)
    factor = torch.exp(2 * beta * prediction.log_scale)
    expected = torch.autograd.grad(plain.sum(), inputs)
    for got, unweighted in zip(torch.autograd.grad(weighted.sum(), inputs), expected, strict=True):
        torch.testing.assert_close(got, unweighted * factor)


def test_beta_one_gives_the_mean_the_gradient_of_half_the_squared_error() -> None:
    prediction, target = random_prediction(6, 1, 3)
    mask = torch.ones(6, dtype=torch.bool)

    [got] = torch.autograd.grad(beta_nll(prediction, target, mask, beta=1.0).sum(), prediction.mean)
    [expected] = torch.autograd.grad(0.5 * mse(prediction, target, mask).sum(), prediction.mean)

    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("beta", [1.5, -0.5])
def test_beta_out_of_bounds_is_refused(beta: float) -> None:
    prediction, target = random_prediction(4, 1, 3)

    with pytest.raises(ParamsError, match=r"loss.beta must be from 0 to 1, got"):
        beta_nll(prediction, target, torch.ones(4, dtype=torch.bool), beta=beta)


@pytest.mark.parametrize("modes", [2, 4])
def test_with_several_modes_the_value_is_that_of_the_mixture(modes: int) -> None:
    prediction, target = random_prediction(6, modes, 3)
    mask = torch.ones(6, dtype=torch.bool)

    torch.testing.assert_close(
        beta_nll(prediction, target, mask), gaussian_nll(prediction, target, mask)
    )


def test_a_low_rank_covariance_cannot_be_reweighted() -> None:
    prediction, target = random_prediction(4, 1, 3)
    low_rank = replace(prediction, factor=torch.ones(1, 3, 2, dtype=torch.float64))

    with pytest.raises(ParamsError, match="covariance diagonal or triangular, got low-rank"):
        beta_nll(low_rank, target, torch.ones(4, dtype=torch.bool))
