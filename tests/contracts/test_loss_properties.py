"""Algebraic properties of every registered loss: masks, order, repetition."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polydistill.contracts import Prediction
from polydistill.losses import LOSSES
from tests.predictions import random_prediction

NAMES = LOSSES.names()
SEEDS = st.integers(0, 2**32 - 1)
MASKS = st.lists(st.booleans(), min_size=1, max_size=6)
LIGHT = settings(max_examples=12, deadline=None)


def rows_of(prediction: Prediction, rows: Tensor) -> Prediction:
    """Return the prediction for some rows; a covariance that all rows share is not indexed."""
    return replace(
        prediction,
        mean=prediction.mean[rows],
        log_scale=prediction.log_scale[rows],
        log_weights=prediction.log_weights[rows],
    )


def gradients(loss: Tensor, prediction: Prediction) -> dict[str, Tensor]:
    """Return the gradient at each part of the prediction, with zeros for parts that do not affect the loss."""
    parts = {one.name: getattr(prediction, one.name) for one in fields(prediction)}
    parts = {name: part for name, part in parts.items() if part is not None}
    found = torch.autograd.grad(
        loss.sum(), list(parts.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(parts, found, strict=True))


def make(
    seed: int, rows: int, modes: int, covariance: str = "diagonal"
) -> tuple[Prediction, Tensor]:
    prediction, target = random_prediction(rows, modes, 4, seed=seed)
    if covariance == "diagonal":
        return prediction, target
    draw = torch.Generator().manual_seed(seed)
    free = 0.3 * torch.randn(modes, 4, 4, generator=draw, dtype=torch.float64)
    triangle = free.tril(-1) + torch.eye(4, dtype=torch.float64)
    return replace(prediction, triangle=triangle.requires_grad_()), target


@pytest.mark.parametrize("name", NAMES)
@given(
    seed=SEEDS,
    kept=MASKS,
    modes=st.integers(1, 3),
    covariance=st.sampled_from(["diagonal", "triangular"]),
    missing=st.sampled_from([0.0, 1.0, -1e4]),
)
@LIGHT
def test_masking_a_row_equals_removing_it_in_loss_and_gradients(
    name: str, seed: int, kept: list[bool], modes: int, covariance: str, missing: float
) -> None:
    prediction, target = make(seed, len(kept), modes, covariance)
    mask = torch.tensor(kept)
    target[~mask] = missing
    loss = LOSSES.get(name)

    masked = loss(prediction, target, mask)
    there = torch.ones(sum(kept), dtype=torch.bool)
    dropped = loss(rows_of(prediction, mask), target[mask], there)

    torch.testing.assert_close(masked[mask], dropped)
    assert not masked[~mask].any()
    torch.testing.assert_close(gradients(masked, prediction), gradients(dropped, prediction))


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS, kept=MASKS, modes=st.integers(1, 3), data=st.data())
@LIGHT
def test_permuting_the_batch_permutes_the_loss_and_keeps_the_gradients(
    name: str, seed: int, kept: list[bool], modes: int, data: st.DataObject
) -> None:
    order = torch.tensor(data.draw(st.permutations(range(len(kept)))))
    prediction, target = make(seed, len(kept), modes, "triangular")
    mask, loss = torch.tensor(kept), LOSSES.get(name)

    straight = loss(prediction, target, mask)
    permuted = loss(rows_of(prediction, order), target[order], mask[order])

    torch.testing.assert_close(permuted, straight[order])
    torch.testing.assert_close(gradients(permuted, prediction), gradients(straight, prediction))


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS, rows=st.integers(1, 6), times=st.integers(2, 5))
@LIGHT
def test_repeating_every_dimension_keeps_the_loss_and_the_gradients(
    name: str, seed: int, rows: int, times: int
) -> None:
    prediction, target = make(seed, rows, 1)
    mask, loss = torch.ones(rows, dtype=torch.bool), LOSSES.get(name)
    repeated = replace(
        prediction,
        mean=prediction.mean.repeat(1, 1, times),
        log_scale=prediction.log_scale.repeat(1, 1, times),
    )

    once = loss(prediction, target, mask)
    often = loss(repeated, target.repeat(1, times), mask)

    torch.testing.assert_close(often, once)
    wide, narrow = gradients(often, prediction), gradients(once, prediction)
    for part in ("mean", "log_scale"):  # a single mode always has weight one
        torch.testing.assert_close(wide[part], narrow[part])
