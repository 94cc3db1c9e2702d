"""Contract of every registered loss."""

from __future__ import annotations

import pytest
import torch

from polydistill.contracts import Prediction
from polydistill.errors import ShapeError
from polydistill.losses import LOSSES
from tests.predictions import random_prediction


@pytest.mark.parametrize("name", LOSSES.names())
@pytest.mark.parametrize("batch", [0, 1, 7])
def test_gives_one_finite_value_per_row(name: str, batch: int) -> None:
    prediction, target = random_prediction(batch, 2, 3, torch.float32)

    loss = LOSSES.get(name)(prediction, target, torch.ones(batch, dtype=torch.bool))

    assert loss.shape == (batch,)
    assert torch.isfinite(loss).all()


@pytest.mark.parametrize("name", LOSSES.names())
def test_a_masked_row_has_no_loss_and_no_gradient(name: str) -> None:
    prediction, target = random_prediction(4, 1, 3)
    mask = torch.tensor([True, False, True, False])

    loss = LOSSES.get(name)(prediction, target, mask)
    loss.sum().backward()

    assert loss[~mask].abs().sum() == 0
    assert prediction.mean.grad is not None
    assert prediction.mean.grad[~mask].abs().sum() == 0


@pytest.mark.parametrize("name", LOSSES.names())
def test_masking_a_row_equals_dropping_it(name: str) -> None:
    prediction, target = random_prediction(4, 2, 3)
    mask = torch.tensor([True, False, True, True])
    kept = Prediction(
        prediction.mean[mask], prediction.log_scale[mask], prediction.log_weights[mask]
    )
    loss = LOSSES.get(name)

    dropped = loss(kept, target[mask], torch.ones(3, dtype=torch.bool))

    torch.testing.assert_close(loss(prediction, target, mask)[mask], dropped)


@pytest.mark.parametrize("name", LOSSES.names())
def test_a_perfect_mean_has_a_lower_loss_than_a_wrong_one(name: str) -> None:
    prediction, target = random_prediction(6, 1, 3)
    perfect = Prediction(target.unsqueeze(1), prediction.log_scale, prediction.log_weights)
    wrong = Prediction(-target.unsqueeze(1), prediction.log_scale, prediction.log_weights)
    mask = torch.ones(6, dtype=torch.bool)
    loss = LOSSES.get(name)

    assert (loss(perfect, target, mask) < loss(wrong, target, mask)).all()


@pytest.mark.parametrize("name", LOSSES.names())
def test_a_mask_of_another_length_is_refused(name: str) -> None:
    prediction, target = random_prediction(4, 1, 3)

    with pytest.raises(ShapeError, match="`mask`"):
        LOSSES.get(name)(prediction, target, torch.ones(1, dtype=torch.bool))
