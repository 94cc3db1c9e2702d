"""Random predictions for the tests of losses."""

from __future__ import annotations

import torch

from polydistill.contracts import Prediction


def random_prediction(
    batch: int, modes: int, dim: int, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[Prediction, torch.Tensor]:
    """Return a prediction that requires gradients, and a target."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=dtype)

    mean = normal(batch, modes, dim).requires_grad_()
    log_scale = (0.7 * normal(batch, modes, dim)).requires_grad_()
    log_weights = normal(batch, modes).log_softmax(dim=-1).detach().requires_grad_()
    return Prediction(mean, log_scale, log_weights), normal(batch, dim)
