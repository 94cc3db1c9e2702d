"""Contract of every registered weighting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polydistill.training.weighting import WEIGHTINGS

NAMES = WEIGHTINGS.names()
SEEN = torch.tensor([True, True, True])


def teacher_values(scale: float = 1.0, n: int = 400, dim: int = 6) -> np.ndarray:
    draw = np.random.default_rng(0)
    mixed = draw.normal(size=(n, dim)) @ draw.normal(size=(dim, dim)) + 3
    return (scale * mixed).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_equal_losses_are_unchanged(name: str) -> None:
    weighting = WEIGHTINGS.get(name)(3)

    for _ in range(3):
        reduced = weighting(torch.full((3,), 1.5), SEEN)

    assert reduced.shape == ()
    assert reduced.item() == pytest.approx(1.5)


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_teacher_has_no_effect(name: str) -> None:
    weighting = WEIGHTINGS.get(name)(3).eval()

    reduced = weighting(torch.tensor([1.0, 0.0, 3.0]), torch.tensor([True, False, True]))

    assert reduced.item() == pytest.approx(2.0)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_any_teacher_has_a_finite_loss(name: str) -> None:
    reduced = WEIGHTINGS.get(name)(2)(torch.zeros(2), torch.tensor([False, False]))

    assert torch.isfinite(reduced)


@pytest.mark.parametrize("name", NAMES)
def test_fitted_rescaling_can_be_inverted(name: str) -> None:
    values = teacher_values()
    standardiser = WEIGHTINGS.get(name)(1).fit(values, np.ones(len(values), dtype=np.bool_))

    np.testing.assert_allclose(
        standardiser.invert(standardiser.apply(values)), values, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_teacher_without_rows_or_spread_stays_finite(name: str) -> None:
    weighting = WEIGHTINGS.get(name)(1)
    for values in (teacher_values()[:4] * 0 + 2, teacher_values()[:4]):
        rows = np.full(4, values[0, 0] == 2)
        standardiser = weighting.fit(values, rows)
        assert np.isfinite(standardiser.apply(values)).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_rescaling_does_not_change_the_given_targets(name: str) -> None:
    def targets(scale: float) -> torch.Tensor:
        values = teacher_values(scale)
        weighting = WEIGHTINGS.get(name)(1)
        applied = weighting.fit(values, np.ones(len(values), dtype=np.bool_)).apply(values)
        mask = torch.ones(len(values), dtype=torch.bool)
        rescaled: torch.Tensor = weighting.rescale(0, torch.from_numpy(applied), mask)
        return rescaled

    torch.testing.assert_close(targets(1.0), targets(37.0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_state_can_be_saved_and_restored(name: str) -> None:
    def step(weighting: torch.nn.Module, number: int) -> torch.Tensor:
        torch.manual_seed(number)
        losses = torch.tensor([1.0, 2.0, 0.5]) * number
        mask = torch.ones(4, dtype=torch.bool)
        weighting.rescale(0, torch.full((4, 2), float(number)), mask)  # type: ignore[operator]
        reduced: torch.Tensor = weighting(losses, SEEN)
        return reduced.detach()

    whole = WEIGHTINGS.get(name)(3)
    for number in (1, 2, 3):
        last = step(whole, number)
    first = WEIGHTINGS.get(name)(3)
    for number in (1, 2):
        step(first, number)
    resumed = WEIGHTINGS.get(name)(3)
    resumed.load_state_dict(first.state_dict())

    torch.testing.assert_close(step(resumed, 3), last)
