from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from polydistill.errors import ParamsError, ShapeError
from polydistill.losses.relational import GEOMETRY
from polydistill.losses.relational.consensus_embedding import ConsensusEmbedding, _effective_rank

N = 400


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def all_rows(n_teachers: int) -> list[torch.Tensor]:
    return [torch.ones(N, dtype=torch.bool)] * n_teachers


def cosines(values: torch.Tensor) -> torch.Tensor:
    unit = normalize(values, dim=-1)
    return unit @ unit.T


def test_a_student_with_the_weighted_similarities_of_the_teachers_has_distance_zero() -> None:
    targets = [numbers(N, 3, seed=1), numbers(N, 5, seed=2)]
    term = ConsensusEmbedding(8, [3, 5], rank_power=1.0, whitening=0.0)
    weights = torch.tensor([_effective_rank(one) for one in targets])
    parts = [
        normalize(one, dim=-1) * weight.sqrt() for one, weight in zip(targets, weights, strict=True)
    ]
    rotation = torch.linalg.qr(numbers(8, 8, seed=3))[0]
    student = torch.cat(parts, dim=-1) @ rotation

    term.fit(student, targets, all_rows(2))

    assert term(student, targets, all_rows(2)).abs().max() < 1e-4
    share = weights / weights.sum()
    expected = sum(w * cosines(one) for w, one in zip(share, targets, strict=True))
    torch.testing.assert_close(cosines(student), expected)


def test_the_targets_are_rotated_towards_the_student_without_a_change_of_cosines() -> None:
    target, student = numbers(N, 6, seed=1), numbers(N, 6, seed=2)
    mixed = target @ numbers(6, 6, seed=3) + 0.1 * student

    aims = []
    for start in (mixed, student):
        term = ConsensusEmbedding(6, [6], whitening=0.5)
        term.fit(start, [target], all_rows(1))
        aims.append(normalize(target, dim=-1) @ term.projection)
        assert (normalize(aims[-1], dim=-1) * normalize(start, dim=-1)).sum(dim=-1).mean() > 0

    torch.testing.assert_close(cosines(aims[0]), cosines(aims[1]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("whitening", "expected"), [(0.0, 9.0), (0.5, 3.0), (1.0, 1.0)])
def test_whitening_makes_the_components_more_equal(whitening: float, expected: float) -> None:
    target = torch.cat([numbers(N, 1, seed=1) * 3, numbers(N, 1, seed=2)], dim=-1)
    term = ConsensusEmbedding(2, [2], whitening=whitening)
    unit = normalize(target, dim=-1)
    first, second = torch.linalg.eigvalsh(unit.T @ unit).flip(0)

    term.fit(target, [target], all_rows(1))

    aims = unit @ term.projection
    found = torch.linalg.eigvalsh(aims.T @ aims).flip(0)
    ratio = (first / second) ** (1 - whitening)
    torch.testing.assert_close(found[0] / found[1], ratio, rtol=1e-3, atol=0)
    assert (ratio > 1.5) == (expected > 1)


def test_a_teacher_of_low_rank_has_less_weight() -> None:
    wide, narrow = numbers(N, 8, seed=1), numbers(N, 1, seed=2) @ numbers(1, 8, seed=3)
    term = ConsensusEmbedding(4, [8, 8])

    term.fit(numbers(N, 4), [wide, narrow], all_rows(2))

    assert term.weights[0] > 6
    assert term.weights[1] == pytest.approx(1.0, abs=1e-3)


def test_rows_without_any_teacher_have_no_loss_and_others_use_the_teachers_they_have() -> None:
    targets = [numbers(N, 3, seed=1), numbers(N, 5, seed=2)]
    masks = [torch.ones(N, dtype=torch.bool), torch.zeros(N, dtype=torch.bool)]
    masks[0][0] = False
    term = ConsensusEmbedding(4, [3, 5])
    term.fit(numbers(N, 4), targets, all_rows(2))

    losses = term(numbers(N, 4), targets, masks)
    targets[1] = torch.zeros_like(targets[1])

    assert losses[0] == 0
    torch.testing.assert_close(losses, term(numbers(N, 4), targets, masks))


def test_a_student_wider_than_all_teachers_together_has_a_target_too() -> None:
    target = numbers(N, 3)
    term = ConsensusEmbedding(7, [3], whitening=1.0)

    term.fit(numbers(N, 7, seed=4), [target], all_rows(1))

    aims = normalize(target, dim=-1) @ term.projection
    assert torch.linalg.matrix_rank(aims) == 3
    assert torch.isfinite(term(numbers(N, 7), [target], all_rows(1))).all()


def test_a_constant_dimension_of_a_teacher_is_not_blown_up_by_whitening() -> None:
    target = torch.cat([numbers(N, 3), torch.zeros(N, 1)], dim=-1)
    term = ConsensusEmbedding(4, [4], whitening=1.0)

    term.fit(numbers(N, 4, seed=4), [target], all_rows(1))

    assert term.projection[3].abs().max() == 0


def test_a_target_with_other_rows_is_refused() -> None:
    term = ConsensusEmbedding(4, [3])

    with pytest.raises(ShapeError, match="must have 400 rows"):
        term.fit(numbers(N, 4), [numbers(N - 1, 3)], all_rows(1))


def test_a_power_whose_weights_no_float_can_hold_is_refused() -> None:
    with pytest.raises(ParamsError, match="'rank_power'.*less than or equal to 4"):
        GEOMETRY.check("consensus-embedding", {"rank_power": 1e6})
