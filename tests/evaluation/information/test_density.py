from __future__ import annotations

import numpy as np
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from polydistill.evaluation.information._density import (
    LinearView,
    Mixture,
    _start,
    fit_mixture,
    linear_view,
    marginal_nll,
)

DRAW = np.random.default_rng(0)
MIXTURE = Mixture(np.log([0.25, 0.75]), DRAW.normal(size=(2, 3)), DRAW.normal(size=(2, 3)) / 3)
Y = DRAW.normal(size=(3000, 3))


def reference(y: torch.Tensor) -> torch.Tensor:
    mean, scale, log_weights = map(
        torch.from_numpy, (MIXTURE.mean, np.exp(MIXTURE.log_scale), MIXTURE.log_weights)
    )
    parts = Independent(Normal(mean, scale), 1)
    nats: torch.Tensor = -MixtureSameFamily(Categorical(logits=log_weights), parts).log_prob(y)
    return nats


def test_the_marginal_is_the_mixture_of_torch_distributions() -> None:
    nats = marginal_nll(MIXTURE, Y)

    np.testing.assert_allclose(nats, reference(torch.from_numpy(Y)).numpy(), rtol=1e-5, atol=1e-5)


def test_the_conditional_starts_at_the_ridge_and_the_mixture_of_its_residuals() -> None:
    x, coefficients = DRAW.normal(size=(3000, 4)), DRAW.normal(size=(4, 3))
    heads = _start(LinearView(x.astype(np.float32), Y, coefficients), MIXTURE, seed=0)

    prediction = heads(torch.from_numpy(x).float())["y"]

    parts = Independent(Normal(prediction.mean, prediction.log_scale.exp()), 1)
    mixture = MixtureSameFamily(Categorical(logits=prediction.log_weights), parts)
    expected = reference(torch.from_numpy(Y - x @ coefficients)).numpy()
    nats = -mixture.log_prob(torch.from_numpy(Y).float()).detach().numpy()
    np.testing.assert_allclose(nats, expected, rtol=1e-4, atol=1e-4)


def test_a_mixture_has_as_many_modes_as_validate() -> None:
    fit = np.arange(3000) < 2000
    two = np.where(DRAW.random((3000, 1)) < 0.5, -5, 5) + Y

    assert len(fit_mixture(Y, fit, ~fit, seed=0).mean) == 1
    found = fit_mixture(two, fit, ~fit, seed=0)
    assert {-5, 5} <= set(np.round(found.mean[:, 0]))


def test_the_view_is_white_and_its_residuals_uncorrelated() -> None:
    x = DRAW.normal(size=(6000, 4))
    y = x @ DRAW.normal(size=(4, 5)) + DRAW.normal(size=(6000, 5)) @ DRAW.normal(size=(5, 5))
    fit = np.arange(6000) < 5000

    view = linear_view(x.astype(np.float32), y.astype(np.float32), fit, ~fit)

    white, residuals = view.y[fit], (view.y - view.x @ view.coefficients)[fit]
    np.testing.assert_allclose(white.T @ white / 5000, np.eye(5), atol=1e-4)
    correlations = np.corrcoef(residuals.T) - np.eye(5)
    assert np.abs(correlations).max() < 0.05  # penalties differ by column
