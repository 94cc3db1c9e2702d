from __future__ import annotations

import torch

from polydistill.losses.mse import mse
from tests.predictions import random_prediction


def test_equals_torchs_mean_squared_error_of_the_mixtures_mean() -> None:
    prediction, target = random_prediction(5, 3, 4)
    weights = prediction.log_weights.exp()
    mean = torch.einsum("bm,bmd->bd", weights, prediction.mean)
    expected = torch.nn.functional.mse_loss(mean, target, reduction="none").mean(dim=1)

    loss = mse(prediction, target, torch.ones(5, dtype=torch.bool))

    torch.testing.assert_close(loss, expected)
