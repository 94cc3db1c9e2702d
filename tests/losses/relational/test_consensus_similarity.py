from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from polydistill.losses.relational.consensus_similarity import consensus_similarity


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def expected(student: torch.Tensor, consensus: torch.Tensor) -> torch.Tensor:
    """Return ten times each row's mean squared difference off the diagonal."""
    own = normalize(student, dim=-1)
    squares = (own @ own.T - consensus) ** 2
    return 10 * (squares.sum(dim=-1) - squares.diagonal()) / (len(student) - 1)


@pytest.mark.parametrize(("power", "weights"), [(0.0, (0.5, 0.5)), (1.0, (0.2, 0.8))])
def test_a_teacher_is_weighted_by_its_width_to_the_power(
    power: float, weights: tuple[float, float]
) -> None:
    student, targets = numbers(6, 3), [numbers(6, 2, seed=1), numbers(6, 8, seed=2)]
    masks = [torch.ones(6, dtype=torch.bool)] * 2
    units = [normalize(target, dim=-1) for target in targets]
    consensus = sum(w * (unit @ unit.T) for w, unit in zip(weights, units, strict=True))

    term = consensus_similarity(student, targets, masks, width_power=power)

    assert isinstance(consensus, torch.Tensor)
    torch.testing.assert_close(term, expected(student, consensus))


@pytest.mark.parametrize("power", [-1.0, 0.5])
def test_where_one_teacher_is_present_the_power_has_no_effect(power: float) -> None:
    student, targets = numbers(6, 3), [numbers(6, 2, seed=1), numbers(6, 8, seed=2)]
    masks = [torch.zeros(6, dtype=torch.bool), torch.ones(6, dtype=torch.bool)]
    unit = normalize(targets[1], dim=-1)

    term = consensus_similarity(student, targets, masks, width_power=power)

    torch.testing.assert_close(term, expected(student, unit @ unit.T))
