from __future__ import annotations

import torch

from polydistill.heads._outputs import Outputs


def outputs() -> Outputs:
    return Outputs({"one": 3, "two": 2}, 1, "diagonal", 1, (-6.0, 4.0))


def numbers(*shape: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return 3 * torch.randn(*shape, generator=draw, dtype=torch.float64)


def test_the_scale_is_a_hyperbolic_tangent_between_its_bounds() -> None:
    raw = numbers(4, 5)

    predictions = outputs()(torch.zeros_like(raw), raw, numbers(4, 2))

    clamped = torch.cat([one.log_scale for one in predictions.values()], dim=-1)[:, 0]
    torch.testing.assert_close(clamped, -1 + 5 * torch.tanh((raw + 1) / 5))


def test_the_gradient_is_that_of_finite_differences() -> None:
    raw = numbers(4, 5).requires_grad_()

    def scales(raw: torch.Tensor) -> torch.Tensor:
        predictions = outputs()(torch.zeros_like(raw), raw, numbers(4, 2))
        return torch.cat([one.log_scale for one in predictions.values()], dim=-1)

    assert torch.autograd.gradcheck(scales, (raw,))
