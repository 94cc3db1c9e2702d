"""Contract of every registered relational term."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polydistill.contracts import GeometryTerm
from polydistill.errors import ShapeError
from polydistill.losses.relational import GEOMETRY, build_geometry


def batch(rows: int = 6) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    draw = torch.Generator().manual_seed(0)
    student = torch.randn(rows, 4, generator=draw, dtype=torch.float64).requires_grad_()
    targets = [torch.randn(rows, dim, generator=draw, dtype=torch.float64) for dim in (3, 5)]
    return student, targets, [torch.ones(rows, dtype=torch.bool) for _ in targets]


def make(name: str) -> GeometryTerm:
    """Return the term with an empty state."""
    term = build_geometry(name, {}, 4, (3, 5))
    return term.double() if isinstance(term, torch.nn.Module) else term


@pytest.mark.parametrize("name", GEOMETRY.names())
@pytest.mark.parametrize("rows", [0, 1, 6])
def test_gives_one_finite_value_per_row(name: str, rows: int) -> None:
    term = make(name)(*batch(rows))

    assert term.shape == (rows,)
    assert torch.isfinite(term).all()


@pytest.mark.parametrize("name", GEOMETRY.names())
def test_is_invariant_to_the_norm_of_the_student(name: str) -> None:
    student, targets, masks = batch()

    torch.testing.assert_close(
        make(name)(3 * student, targets, masks), make(name)(student, targets, masks)
    )


@pytest.mark.parametrize("name", GEOMETRY.names())
def test_permuting_the_batch_permutes_the_term(name: str) -> None:
    student, targets, masks = batch()
    order = [3, 1, 5, 0, 4, 2]

    permuted = make(name)(student[order], [one[order] for one in targets], masks)

    torch.testing.assert_close(permuted, make(name)(student, targets, masks)[order])


@pytest.mark.parametrize("name", GEOMETRY.names())
def test_a_row_without_any_teacher_has_no_effect(name: str) -> None:
    student, targets, masks = batch()
    kept = torch.tensor([True, True, False, True, True, True])

    masked = make(name)(student, targets, [kept, kept])
    dropped = make(name)(
        student[kept], [one[kept] for one in targets], [one[kept] for one in masks]
    )

    torch.testing.assert_close(masked[kept], dropped)
    assert masked[~kept].abs().sum() == 0


@pytest.mark.parametrize("name", GEOMETRY.names())
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    student, targets, masks = batch()

    assert torch.autograd.gradcheck(lambda one: make(name)(one, targets, masks), student)


@pytest.mark.parametrize("name", GEOMETRY.names())
def test_targets_of_another_length_are_refused(name: str) -> None:
    student, targets, masks = batch()

    with pytest.raises(ShapeError, match="Targets must have 6 rows, got 2"):
        make(name)(student, [targets[0][:2], targets[1]], masks)
    with pytest.raises(ShapeError, match=r"Masks must have shape \(6,\), got \(6, 1\)"):
        make(name)(student, targets, [masks[0][:, None], masks[1]])
