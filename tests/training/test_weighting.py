from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polydistill.training import standardise
from polydistill.training.standardise import Standardiser
from polydistill.training.weighting.ema_norm import LEAST, EmaNorm
from polydistill.training.weighting.none import NoWeighting
from polydistill.training.weighting.phi_s import PhiS, equalising_rotation
from polydistill.training.weighting.running import Running
from polydistill.training.weighting.teacher_dropping import TeacherDropping
from polydistill.training.weighting.uncertainty import Uncertainty

SEEN = torch.tensor([True, True])


@given(variances=st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_the_equalising_rotation_is_one_and_equalises(variances: list[float]) -> None:
    spread = np.array(variances)

    rotation = equalising_rotation(spread)

    np.testing.assert_allclose(rotation @ rotation.T, np.eye(len(spread)), atol=1e-9)
    rotated = np.diag(rotation @ np.diag(spread) @ rotation.T)
    np.testing.assert_allclose(rotated, spread.mean(), rtol=1e-6)


def test_phi_s_scales_every_direction_alike() -> None:
    draw = np.random.default_rng(0)
    values = (draw.normal(size=(5000, 3)) * [10.0, 1.0, 0.1]).astype(np.float32)
    standardiser = PhiS(1).fit(values, np.ones(5000, dtype=np.bool_))

    applied = standardiser.apply(values)

    np.testing.assert_allclose(applied.std(axis=0), 1, rtol=1e-3)
    scales = np.linalg.svd(np.cov(applied.T), compute_uv=False) ** 0.5
    assert scales[0] / scales[2] == pytest.approx(100, rel=0.05)  # per-dimension would give 1


def test_phi_s_does_not_depend_on_the_blocks_in_which_rows_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(0).normal(3, 2, size=(500, 4)).astype(np.float32)
    rows = np.arange(500) % 3 > 0
    whole = PhiS(1).fit(values, rows)

    monkeypatch.setattr(standardise, "BLOCK", 37)
    blocks = PhiS(1).fit(values, rows)

    np.testing.assert_allclose(blocks.mean, whole.mean, rtol=1e-6)
    np.testing.assert_allclose(blocks.std, whole.std, rtol=1e-6)
    np.testing.assert_allclose(blocks.apply(values), whole.apply(values), atol=1e-5)


def test_variances_are_turned_back_with_the_values() -> None:
    angle = np.pi / 6
    rotation = np.array(
        [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], np.float32
    )
    standardiser = Standardiser(np.zeros(2, np.float32), np.array([2.0, 2.0], np.float32), rotation)
    draw = np.random.default_rng(0).normal(size=(200_000, 2)) * [1.0, 3.0]

    back = standardiser.invert(draw.astype(np.float32))
    told = standardiser.invert_variance(np.array([[1.0, 9.0]], np.float32))

    np.testing.assert_allclose(told[0], back.var(axis=0), rtol=0.02)


def test_without_weighting_targets_keep_their_scale() -> None:
    values = np.random.default_rng(0).normal(5, 9, size=(50, 3)).astype(np.float32)

    standardiser = NoWeighting(1).fit(values, np.ones(50, dtype=np.bool_))

    np.testing.assert_array_equal(standardiser.apply(values), values)


def test_running_statistics_come_to_those_of_the_data_and_rest_in_evaluation() -> None:
    weighting, draw = Running(1), torch.Generator().manual_seed(0)
    mask = torch.ones(256, dtype=torch.bool)
    for _ in range(200):
        rescaled = weighting.rescale(0, 4 + 3 * torch.randn(256, 5, generator=draw), mask)

    assert rescaled.mean().item() == pytest.approx(0, abs=0.1)
    assert rescaled.std().item() == pytest.approx(1, abs=0.1)
    before = weighting.mean.clone()
    weighting.eval().rescale(0, torch.full((256, 5), 99.0), mask)
    assert torch.equal(weighting.mean, before)


def test_running_statistics_do_not_lose_a_small_spread_beside_a_large_mean() -> None:
    weighting, draw = Running(1), torch.Generator().manual_seed(0)
    mask = torch.ones(256, dtype=torch.bool)
    for _ in range(200):
        rescaled = weighting.rescale(0, 1e4 + torch.randn(256, 5, generator=draw), mask)

    assert rescaled.std().item() == pytest.approx(1, abs=0.1)


def test_running_statistics_are_those_of_the_moving_mean_square() -> None:
    weighting, draw = Running(1, momentum=0.3), torch.Generator().manual_seed(0)
    mask, mean, square = torch.ones(8, dtype=torch.bool), 0.0, 0.0
    for step in range(4):
        values = step + torch.randn(8, 2, generator=draw)
        share = 0.3 if step else 1.0
        mean += share * (values.mean().item() - mean)
        square += share * (values.square().mean().item() - square)
        weighting.rescale(0, values, mask)

    assert weighting.mean.item() == pytest.approx(mean, rel=1e-5)
    assert weighting.variance.item() == pytest.approx(square - mean**2, rel=1e-5)


def test_ema_norm_brings_losses_that_are_not_tiny_to_equal_shares() -> None:
    weighting, losses = EmaNorm(2), torch.tensor([10.0, 0.1], requires_grad=True)
    for _ in range(5):
        reduced = weighting(losses, SEEN)
    [gradient] = torch.autograd.grad(reduced, losses)

    shares = gradient * losses.detach()
    torch.testing.assert_close(shares[0], shares[1])


def test_ema_norm_does_not_let_a_likelihood_near_zero_drown_the_others() -> None:
    weighting, losses = EmaNorm(2), torch.tensor([0.0004, 1.0], requires_grad=True)
    for _ in range(5):
        reduced = weighting(losses, SEEN)
    [gradient] = torch.autograd.grad(reduced, losses)

    assert (gradient[0] / gradient[1]).item() == pytest.approx(1 / LEAST)


def test_dropping_never_drops_the_worst_predicted_teacher() -> None:
    weighting, losses = TeacherDropping(3, keep=0.3), torch.tensor([1.0, 5.0, 2.0])
    torch.manual_seed(0)
    reduced = {round(weighting(losses, torch.tensor([True] * 3)).item(), 4) for _ in range(200)}

    assert reduced == {5.0, 3.0, 3.5, 2.6667}
    assert weighting.eval()(losses, torch.tensor([True] * 3)).item() == pytest.approx(8 / 3)


def test_uncertainty_learns_to_trust_a_high_loss_less() -> None:
    weighting = Uncertainty(2)
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        weighting(torch.tensor([4.0, 0.5]), SEEN).backward()
        optimizer.step()

    low, high = weighting.log_variance.detach().flip(0)
    assert high > 0 > low
    assert weighting.log_variance.abs().max() < 10
