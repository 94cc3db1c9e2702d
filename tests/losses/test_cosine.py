from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics.pairwise import paired_cosine_distances

from polydistill.losses.cosine import cosine
from tests.predictions import random_prediction


def test_equals_scikit_learns_cosine_distance() -> None:
    prediction, target = random_prediction(5, 1, 4)
    expected = paired_cosine_distances(prediction.mean[:, 0].detach().numpy(), target.numpy())

    loss = cosine(prediction, target, torch.ones(5, dtype=torch.bool))

    np.testing.assert_allclose(loss.detach().numpy(), expected, rtol=1e-6)
