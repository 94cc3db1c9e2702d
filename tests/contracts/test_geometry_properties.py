"""Algebraic properties of every registered relational term: masks, order, repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polydistill.contracts import GeometryTerm
from polydistill.losses.relational import GEOMETRY, build_geometry

NAMES = GEOMETRY.names()
DIMS = (3, 5)
SEEDS = st.integers(0, 2**32 - 1)
MASK_PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=6)
LIGHT = settings(max_examples=12, deadline=None)


@dataclass(frozen=True)
class Batch:
    """Targets of two teachers, and masks of the rows that each one has."""

    student: Tensor
    targets: Sequence[Tensor]
    masks: Sequence[Tensor]

    def rows(self, rows: Tensor) -> Batch:
        return Batch(
            self.student[rows],
            [one[rows] for one in self.targets],
            [one[rows] for one in self.masks],
        )


def make_batch(seed: int, kept: Sequence[tuple[bool, bool]]) -> Batch:
    draw = torch.Generator().manual_seed(seed)

    def normal(dim: int) -> Tensor:
        return torch.randn(len(kept), dim, generator=draw, dtype=torch.float64)

    masks = [torch.tensor([row[place] for row in kept]) for place in range(len(DIMS))]
    return Batch(normal(4).requires_grad_(), [normal(dim) for dim in DIMS], masks)


def make_term(name: str, student_dim: int = 4, dims: Sequence[int] = DIMS) -> GeometryTerm:
    """Return the term with an empty state, in training mode."""
    term = build_geometry(name, {}, student_dim, dims)
    return term.double() if isinstance(term, torch.nn.Module) else term


def value(term: GeometryTerm, batch: Batch) -> Tensor:
    return term(batch.student, batch.targets, batch.masks)


def gradient(value: Tensor, batch: Batch) -> Tensor:
    """Return the gradient of the sum at the student's embeddings."""
    found: Tensor = torch.autograd.grad(value.sum(), batch.student)[0]
    return found


def assert_same(got: Tensor, wanted: Tensor, batch: Batch) -> None:
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(gradient(got, batch), gradient(wanted, batch))


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS, kept=MASK_PAIRS, missing=st.sampled_from([1.0, -1e4]))
@LIGHT
def test_the_values_of_a_missing_row_have_no_effect(
    name: str, seed: int, kept: list[tuple[bool, bool]], missing: float
) -> None:
    batch, after = make_batch(seed, kept), make_batch(seed + 1, [(True, True)] * 3)
    filled = [
        target.masked_fill(~mask[:, None], missing)
        for target, mask in zip(batch.targets, batch.masks, strict=True)
    ]
    clean, dirty = make_term(name), make_term(name)

    assert_same(value(dirty, replace(batch, targets=filled)), value(clean, batch), batch)
    assert_same(value(dirty, after), value(clean, after), after)  # the state does not change either


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS, kept=st.lists(st.booleans(), min_size=2, max_size=6).filter(any))
@LIGHT
def test_a_row_without_any_teacher_equals_its_absence_in_this_and_later_batches(
    name: str, seed: int, kept: list[bool]
) -> None:
    batch, rows = make_batch(seed, [(one, one) for one in kept]), torch.tensor(kept)
    after = make_batch(seed + 1, [(True, True), (True, False), (True, True)])
    masking, dropping = make_term(name), make_term(name)

    masked = value(masking, batch)

    assert not masked[~rows].any()
    assert_same(masked[rows], value(dropping, batch.rows(rows)), batch)
    assert_same(value(masking, after), value(dropping, after), after)


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS, absent=st.integers(0, len(DIMS) - 1), rows=st.integers(1, 6))
@LIGHT
def test_a_teacher_without_rows_equals_its_absence(
    name: str, seed: int, absent: int, rows: int
) -> None:
    batch = make_batch(seed, [(absent != 0, absent != 1)] * rows)
    other = 1 - absent
    alone = replace(batch, targets=[batch.targets[other]], masks=[batch.masks[other]])

    with_both = value(make_term(name), batch)

    assert_same(with_both, value(make_term(name, dims=(DIMS[other],)), alone), batch)


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS, kept=MASK_PAIRS, data=st.data())
@LIGHT
def test_permuting_the_batch_permutes_the_term_and_keeps_the_gradient(
    name: str, seed: int, kept: list[tuple[bool, bool]], data: st.DataObject
) -> None:
    order = torch.tensor(data.draw(st.permutations(range(len(kept)))))
    batch = make_batch(seed, kept)

    straight = value(make_term(name), batch)

    assert_same(value(make_term(name), batch.rows(order)), straight[order], batch)


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS, kept=MASK_PAIRS, times=st.integers(2, 4))
@LIGHT
def test_repeating_every_dimension_keeps_the_term_and_the_gradient(
    name: str, seed: int, kept: list[tuple[bool, bool]], times: int
) -> None:
    batch = make_batch(seed, kept)
    repeated = Batch(
        batch.student.repeat(1, times), [one.repeat(1, times) for one in batch.targets], batch.masks
    )
    wide = make_term(name, 4 * times, [dim * times for dim in DIMS])

    assert_same(value(wide, repeated), value(make_term(name), batch), batch)
