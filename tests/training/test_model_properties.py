"""Algebraic properties of the whole training loss, with every loss, head, weighting and relational term."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polydistill.heads import HEADS
from polydistill.losses import LOSSES
from polydistill.losses.relational import GEOMETRY, build_geometry
from polydistill.students.bag_of_bytes import BagOfBytesStudent
from polydistill.training.model import DistillationModel
from polydistill.training.weighting import WEIGHTINGS

DIMS = {"one": 3, "two": 5}
STUDENT_DIM = 4
DEFAULT = {"loss": "gaussian-nll", "head": "low-rank", "weighting": "per-dimension", "geometry": ""}
TURNS = [
    (part, name)
    for part, plug_ins in (
        ("loss", LOSSES),
        ("head", HEADS),
        ("weighting", WEIGHTINGS),
        ("geometry", GEOMETRY),
    )
    for name in plug_ins.names()
]
"""Each plug-in of each part in turn; the other parts are the defaults."""
BY_TEACHER = [turn for turn in TURNS if turn[0] != "geometry"]
STANDARDISED = [turn for turn in TURNS if turn != ("weighting", "none")]
SEEDS = st.integers(0, 2**32 - 1)
MASK_PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=3, max_size=8)
LIGHT = settings(max_examples=6, deadline=None)
Teachers = Mapping[str, Tensor]


def make_model(part: str, name: str) -> DistillationModel:
    chosen = {**DEFAULT, part: name}
    draw = torch.Generator().manual_seed(0)
    student = BagOfBytesStudent.build(["a"], draw, dim=STUDENT_DIM)
    term, dims = chosen["geometry"], tuple(DIMS.values())
    model = DistillationModel(
        student,
        HEADS.get(chosen["head"])(STUDENT_DIM, DIMS, draw, hidden=6, modes=2),
        LOSSES.get(chosen["loss"]),
        build_geometry(term, {}, STUDENT_DIM, dims) if term else None,
        0.5,
        WEIGHTINGS.get(chosen["weighting"])(len(DIMS)),
    )
    return model.double()


def make_batch(seed: int, kept: list[tuple[bool, bool]]) -> tuple[Tensor, Teachers, Teachers]:
    """Return the student's embeddings, and each teacher's targets and mask."""
    draw = torch.Generator().manual_seed(seed)

    def normal(dim: int) -> Tensor:
        return torch.randn(len(kept), dim, generator=draw, dtype=torch.float64)

    masks = {
        teacher: torch.tensor([row[place] for row in kept]) for place, teacher in enumerate(DIMS)
    }
    targets = {teacher: normal(dim) for teacher, dim in DIMS.items()}
    return normal(STUDENT_DIM).requires_grad_(), targets, masks


def loss_of(
    model: DistillationModel, embedded: Tensor, targets: Teachers, masks: Teachers
) -> Tensor:
    torch.manual_seed(0)  # of teacher dropping
    loss: Tensor = model.losses_of(embedded, targets, masks)["loss"]
    return loss


def shown_only_its_own_rows(
    model: DistillationModel, loss: str, embedded: Tensor, targets: Teachers, masks: Teachers
) -> Tensor:
    """Return the loss computed for each teacher from only the rows that it has."""
    nats = []
    for place, (teacher, mask) in enumerate(masks.items()):
        rows = embedded[mask]
        there = {name: torch.full((len(rows),), name == teacher) for name in DIMS}
        target = model.weighting.rescale(place, targets[teacher][mask], there[teacher])
        prediction = model.heads(rows, there)[teacher]
        losses = LOSSES.get(loss)(prediction, target, there[teacher])
        nats.append(losses.mean() if len(losses) else losses.sum())
    torch.manual_seed(0)
    seen = torch.stack([mask.any() for mask in masks.values()])
    whole: Tensor = model.weighting(torch.stack(nats), seen)
    return whole


def gradients(loss: Tensor, model: DistillationModel, embedded: Tensor) -> dict[str, Tensor]:
    """Return the gradients at the student's embeddings and at the other trained parameters."""
    learning = dict(model.heads.named_parameters()) | dict(model.weighting.named_parameters())
    found = torch.autograd.grad(
        loss, [embedded, *learning.values()], allow_unused=True, materialize_grads=True
    )
    return dict(zip(["student", *learning], found, strict=True))


@pytest.mark.parametrize(("part", "name"), BY_TEACHER)
@given(seed=SEEDS, kept=MASK_PAIRS)
@LIGHT
def test_masking_rows_of_a_teacher_is_leaving_them_out_for_that_teacher(
    part: str, name: str, seed: int, kept: list[tuple[bool, bool]]
) -> None:
    embedded, targets, masks = make_batch(seed, kept)
    masking, showing = make_model(part, name), make_model(part, name)

    masked = loss_of(masking, embedded, targets, masks)
    loss = name if part == "loss" else DEFAULT["loss"]
    shown = shown_only_its_own_rows(showing, loss, embedded, targets, masks)

    torch.testing.assert_close(masked, shown)
    torch.testing.assert_close(
        gradients(masked, masking, embedded), gradients(shown, showing, embedded)
    )


@pytest.mark.parametrize("name", GEOMETRY.names())
@given(seed=SEEDS, kept=st.lists(st.booleans(), min_size=3, max_size=8))
@LIGHT
def test_rows_that_no_teacher_has_are_as_good_as_dropped_by_the_geometry_too(
    name: str, seed: int, kept: list[bool]
) -> None:
    embedded, targets, masks = make_batch(seed, [(one, one) for one in kept])
    rows = torch.tensor(kept)
    dropped = loss_of(
        make_model("geometry", name),
        embedded[rows],
        {teacher: values[rows] for teacher, values in targets.items()},
        {teacher: mask[rows] for teacher, mask in masks.items()},
    )

    masked = loss_of(make_model("geometry", name), embedded, targets, masks)

    torch.testing.assert_close(masked, dropped)


@pytest.mark.parametrize(("part", "name"), TURNS)
@given(seed=SEEDS, kept=MASK_PAIRS, missing=st.sampled_from([1.0, -1e4]))
@LIGHT
def test_what_stands_in_a_row_that_a_teacher_lacks_trains_nothing(
    part: str, name: str, seed: int, kept: list[tuple[bool, bool]], missing: float
) -> None:
    embedded, targets, masks = make_batch(seed, kept)
    filled = {
        teacher: target.masked_fill(~masks[teacher][:, None], missing)
        for teacher, target in targets.items()
    }
    clean, dirty = make_model(part, name), make_model(part, name)

    wanted = loss_of(clean, embedded, targets, masks)
    got = loss_of(dirty, embedded, filled, masks)

    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(gradients(got, dirty, embedded), gradients(wanted, clean, embedded))


@pytest.mark.parametrize(("part", "name"), TURNS)
@given(seed=SEEDS, kept=MASK_PAIRS, data=st.data())
@LIGHT
def test_the_order_of_the_batch_trains_nothing(
    part: str, name: str, seed: int, kept: list[tuple[bool, bool]], data: st.DataObject
) -> None:
    order = torch.tensor(data.draw(st.permutations(range(len(kept)))))
    embedded, targets, masks = make_batch(seed, kept)
    straight, permuted = make_model(part, name), make_model(part, name)

    wanted = loss_of(straight, embedded, targets, masks)
    got = loss_of(permuted, embedded[order], in_order(targets, order), in_order(masks, order))

    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(
        gradients(got, permuted, embedded), gradients(wanted, straight, embedded)
    )


def in_order(rows: Teachers, order: Tensor) -> Teachers:
    return {teacher: values[order] for teacher, values in rows.items()}


@pytest.mark.parametrize(("part", "name"), STANDARDISED)
@given(seed=SEEDS, scales=st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), kept=MASK_PAIRS)
@LIGHT
def test_rescaling_teachers_leaves_the_students_gradient_alone_once_they_are_standardised(
    part: str, name: str, seed: int, scales: tuple[float, float], kept: list[tuple[bool, bool]]
) -> None:
    embedded, raw, masks = make_batch(seed, [*kept, (True, True), (True, True)])
    found = []
    for factors in ((1.0, 1.0), scales):
        model = make_model(part, name)
        targets = {}
        for (teacher, values), factor in zip(raw.items(), factors, strict=True):
            rescaled = (factor * values).float().numpy()
            fitted = model.weighting.fit(rescaled, masks[teacher].numpy())
            targets[teacher] = torch.from_numpy(fitted.apply(rescaled)).double()
        loss = loss_of(model, embedded, targets, masks)
        found.append(gradients(loss, model, embedded)["student"])

    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-5)
