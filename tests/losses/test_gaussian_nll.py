from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from polydistill.contracts import Prediction
from polydistill.errors import ShapeError
from polydistill.losses.gaussian_nll import gaussian_nll
from tests.predictions import random_prediction


def reference(prediction: Prediction, target: torch.Tensor) -> torch.Tensor:
    modes = Independent(Normal(prediction.mean, prediction.log_scale.exp()), 1)
    mixture = MixtureSameFamily(Categorical(logits=prediction.log_weights), modes)
    nll: torch.Tensor = -mixture.log_prob(target) / target.shape[-1]
    return nll


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 7, 256])
@pytest.mark.parametrize("modes", [1, 2, 4])
def test_equals_torch_distributions(modes: int, batch: int, dtype: torch.dtype) -> None:
    prediction, target = random_prediction(batch, modes, 5, dtype)

    loss = gaussian_nll(prediction, target, torch.ones(batch, dtype=torch.bool))

    assert loss.dtype == dtype
    torch.testing.assert_close(loss, reference(prediction, target), rtol=1e-5, atol=1e-5)


def with_covariance(kind: str, prediction: Prediction, rank: int = 2) -> Prediction:
    draw = torch.Generator().manual_seed(1)
    _, modes, dim = prediction.mean.shape
    if kind == "low-rank":
        factor = torch.randn(modes, dim, rank, generator=draw, dtype=torch.float64)
        return replace(prediction, factor=factor.requires_grad_())
    free = 0.4 * torch.randn(modes, dim, dim, generator=draw, dtype=torch.float64)
    return replace(prediction, triangle=free.tril(-1) + torch.eye(dim, dtype=torch.float64))


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("modes", [1, 3])
@pytest.mark.parametrize("kind", ["low-rank", "triangular"])
def test_full_covariances_equal_torch_distributions(kind: str, modes: int, batch: int) -> None:
    plain, target = random_prediction(batch, modes, 5)
    prediction = with_covariance(kind, plain)
    scales = torch.diag_embed(torch.exp(2 * prediction.log_scale))
    if prediction.factor is not None:
        covariance = scales + prediction.factor @ prediction.factor.mT
        normal = MultivariateNormal(prediction.mean, covariance_matrix=covariance)
    else:
        assert prediction.triangle is not None
        precision = prediction.triangle @ torch.linalg.inv(scales) @ prediction.triangle.mT
        normal = MultivariateNormal(prediction.mean, precision_matrix=precision)
    mixture = MixtureSameFamily(Categorical(logits=prediction.log_weights), normal)

    loss = gaussian_nll(prediction, target, torch.ones(batch, dtype=torch.bool))

    torch.testing.assert_close(loss, -mixture.log_prob(target) / 5, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("log_scale", [-5.0, -2.0, 0.0])
def test_a_low_rank_covariance_is_accurate_in_float32(log_scale: float) -> None:
    draw = torch.Generator().manual_seed(0)
    dim, factor = 384, torch.randn(1, 384, 8, generator=draw)
    noise = torch.randn(16, dim, generator=draw) * torch.tensor(log_scale).exp()
    target = torch.randn(16, 8, generator=draw) @ factor[0].T + noise
    zeros = torch.zeros(16, 1, dim)
    prediction = Prediction(zeros, zeros + log_scale, torch.zeros(16, 1), factor)
    scales = torch.diag_embed((2 * prediction.log_scale.double()).exp())
    covariance = scales + factor.double() @ factor.double().mT
    normal = MultivariateNormal(zeros.double(), covariance_matrix=covariance)

    loss = gaussian_nll(prediction, target, torch.ones(16, dtype=torch.bool))

    assert loss.dtype == torch.float32
    expected = -normal.log_prob(target.double().unsqueeze(1))[:, 0] / dim
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["low-rank", "triangular"])
def test_gradients_of_full_covariances_are_those_of_finite_differences(kind: str) -> None:
    plain, target = random_prediction(3, 1, 4)
    prediction = with_covariance(kind, plain)
    free = prediction.factor if prediction.factor is not None else prediction.triangle
    assert free is not None

    def loss(mean: torch.Tensor, log_scale: torch.Tensor, free: torch.Tensor) -> torch.Tensor:
        part = {"factor": free} if kind == "low-rank" else {"triangle": free}
        changed = replace(prediction, mean=mean, log_scale=log_scale, **part)
        return gaussian_nll(changed, target, torch.ones(3, dtype=torch.bool))

    inputs = (prediction.mean, prediction.log_scale, free.detach().requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs)


def test_one_mode_is_a_normal_density() -> None:
    prediction, target = random_prediction(6, 1, 3)
    normal = Normal(prediction.mean[:, 0], prediction.log_scale[:, 0].exp())

    loss = gaussian_nll(prediction, target, torch.ones(6, dtype=torch.bool))

    torch.testing.assert_close(loss, -normal.log_prob(target).mean(dim=-1))


def test_gradients_are_those_of_finite_differences() -> None:
    prediction, target = random_prediction(3, 2, 4)
    mask = torch.tensor([True, False, True])

    def loss(mean: torch.Tensor, log_scale: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return gaussian_nll(Prediction(mean, log_scale, weights.log_softmax(dim=-1)), target, mask)

    inputs = (prediction.mean, prediction.log_scale, prediction.log_weights)
    assert torch.autograd.gradcheck(loss, inputs)


@given(order=st.permutations(range(6)))
@settings(max_examples=20, deadline=None)
def test_permuting_the_batch_permutes_the_loss(order: list[int]) -> None:
    prediction, target = random_prediction(6, 2, 3)
    mask = torch.tensor([True, True, False, True, True, True])
    permuted = Prediction(
        prediction.mean[order], prediction.log_scale[order], prediction.log_weights[order]
    )

    loss = gaussian_nll(permuted, target[order], mask[order])

    torch.testing.assert_close(loss, gaussian_nll(prediction, target, mask)[order])


@given(times=st.integers(2, 5))
@settings(max_examples=4, deadline=None)
def test_repeating_every_dimension_leaves_one_mode_as_it_was(times: int) -> None:
    prediction, target = random_prediction(5, 1, 3)
    mask = torch.ones(5, dtype=torch.bool)
    repeated = Prediction(
        prediction.mean.repeat(1, 1, times),
        prediction.log_scale.repeat(1, 1, times),
        prediction.log_weights,
    )

    loss = gaussian_nll(repeated, target.repeat(1, times), mask)

    torch.testing.assert_close(loss, gaussian_nll(prediction, target, mask))


def test_a_target_of_another_width_is_refused() -> None:
    prediction, _ = random_prediction(4, 1, 3)

    with pytest.raises(ShapeError, match=r"`target` must have shape \(4, 3\), got \(4, 1\)"):
        gaussian_nll(prediction, torch.zeros(4, 1), torch.ones(4, dtype=torch.bool))
