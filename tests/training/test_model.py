from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polydistill.losses.gaussian_nll import gaussian_nll
from polydistill.losses.relational.consensus_similarity import consensus_similarity
from polydistill.training.model import DistillationModel
from polydistill.training.standardise import fit_standardiser
from tests.training.tiny_run import DIMS, make_model


def gradient(model: DistillationModel) -> torch.Tensor:
    gradients = [weight.grad for weight in model.student.parameters()]
    assert gradients[0] is not None
    return gradients[0].clone()


def test_the_loss_is_the_mean_over_teachers_of_the_mean_over_their_rows() -> None:
    model, _, batches = make_model(None)

    outputs = model(**batches(range(20)))

    expected = (outputs["sums"] / outputs["counts"]).mean()
    torch.testing.assert_close(outputs["loss"].detach(), expected)
    assert outputs["counts"].max() <= 20


def test_the_geometry_term_is_added_with_its_weight() -> None:
    plain, heavy = make_model(None)[0], make_model(weight=3.0)[0]
    batch = make_model()[2](range(20))

    without, with_it = plain(**batch), heavy(**batch)

    assert with_it["geometry"] > 0
    torch.testing.assert_close(with_it["loss"], without["loss"] + 3.0 * with_it["geometry"])


def test_without_the_teachers_losses_the_geometry_term_alone_trains_the_student() -> None:
    plain, student, batches = make_model(weight=3.0)
    alone = DistillationModel(
        student, plain.heads, gaussian_nll, consensus_similarity, 3.0, loss_weight=0.0
    )

    outputs = alone(**batches(range(20)))
    outputs["loss"].backward()

    torch.testing.assert_close(outputs["loss"], 3.0 * outputs["geometry"])
    assert gradient(alone).abs().sum() > 0
    assert all(weight.grad is None or not weight.grad.any() for weight in alone.heads.parameters())


@pytest.mark.parametrize("teacher", DIMS)
def test_masking_a_row_equals_dropping_it_for_that_teacher(teacher: str) -> None:
    model, _, batches = make_model(None)
    batch = batches(range(8))
    for mask in batch["masks"].values():
        mask[:] = True
    without = {"features": batches(range(1, 8))["features"]}
    batch["masks"][teacher][0] = False

    sums = model(**batch)["sums"]
    place = list(DIMS).index(teacher)
    dropped = model(
        **without,
        targets={name: rows[1:] for name, rows in batch["targets"].items()},
        masks={name: rows[1:] for name, rows in batch["masks"].items()},
    )

    torch.testing.assert_close(sums[place], dropped["sums"][place])


def test_a_teacher_without_a_row_in_the_batch_counts_nowhere() -> None:
    model, _, batches = make_model(None)
    batch = batches(range(8))
    batch["masks"]["two"][:] = False

    outputs = model(**batch)

    torch.testing.assert_close(outputs["loss"].detach(), outputs["sums"][0] / outputs["counts"][0])


@given(scale=st.floats(1e-2, 1e2))
@settings(max_examples=5, deadline=None)
def test_rescaling_a_teacher_leaves_the_students_gradients_alone(scale: float) -> None:
    gradients = []
    for factor in (1.0, scale):
        model, _, batches = make_model()
        batch = batches(range(16))
        for name, raw in batch["targets"].items():
            values = raw.numpy() * factor
            standardiser = fit_standardiser(values, batch["masks"][name].numpy())
            batch["targets"][name] = torch.from_numpy(standardiser.apply(values))
        model(**batch)["loss"].backward()
        gradients.append(gradient(model))

    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)
