from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

from polydistill.contracts import Prediction
from polydistill.losses._parts import log_densities, reweighted_log_densities
from tests.predictions import random_prediction


def of_distributions(prediction: Prediction, target: torch.Tensor) -> torch.Tensor:
    modes = Normal(prediction.mean, prediction.log_scale.exp())
    densities: torch.Tensor = modes.log_prob(target.unsqueeze(1)).sum(dim=-1)
    return densities


def test_closed_form_gradients_equal_finite_differences() -> None:
    prediction, target = random_prediction(3, 2, 4)

    def densities(mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
        return log_densities(Prediction(mean, log_scale, prediction.log_weights), target)

    assert torch.autograd.gradcheck(densities, (prediction.mean, prediction.log_scale))


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 1.0])
def test_reweighting_scales_the_gradient_of_torchs_density(beta: float) -> None:
    prediction, target = random_prediction(6, 2, 3)
    inputs = (prediction.mean, prediction.log_scale)
    upstream = torch.linspace(-1, 2, 12, dtype=torch.float64).view(6, 2)
    expected = torch.autograd.grad((of_distributions(prediction, target) * upstream).sum(), inputs)

    densities = reweighted_log_densities(prediction, target, beta)

    torch.testing.assert_close(densities, of_distributions(prediction, target))
    factor = torch.exp(2 * beta * prediction.log_scale)
    for got, unweighted in zip(
        torch.autograd.grad((densities * upstream).sum(), inputs), expected, strict=True
    ):
        torch.testing.assert_close(got, unweighted * factor)


def test_inputs_are_unchanged_and_a_second_backward_pass_gives_the_same_gradients() -> None:
    prediction, target = random_prediction(5, 1, 3)
    before = prediction.mean.detach().clone(), prediction.log_scale.detach().clone()
    densities = log_densities(prediction, target).sum()

    first, second = (
        torch.autograd.grad(densities, prediction.log_scale, retain_graph=True) for _ in range(2)
    )

    assert torch.equal(first[0], second[0])
    assert torch.equal(prediction.mean, before[0])
    assert torch.equal(prediction.log_scale, before[1])


@pytest.mark.parametrize("dim", [384, 4096])
def test_a_wide_teacher_in_float32_equals_float64(dim: int) -> None:
    prediction, target = random_prediction(16, 1, dim, torch.float32)
    exact = Prediction(
        prediction.mean.double(), prediction.log_scale.double(), prediction.log_weights.double()
    )

    got, expected = log_densities(prediction, target), log_densities(exact, target.double())

    torch.testing.assert_close(got.double() / dim, expected / dim, rtol=1e-5, atol=1e-5)
