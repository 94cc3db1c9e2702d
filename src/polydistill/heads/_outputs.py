"""What every head ends in: means, softly bounded scales, and what of the covariance does not depend on the student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from polydistill.contracts import Prediction, widened
from polydistill.errors import ParamsError, UnknownNameError

COVARIANCES = ("diagonal", "low-rank", "triangular")


class Outputs(nn.Module):
    """Splits the outputs of all teachers, made at once, into one prediction a teacher.

    Args:
        teacher_dims: Width of each teacher's embeddings, by name.
        modes: Of the mixture.
        covariance: `diagonal`; `low-rank`: a diagonal and a factor of `rank` columns; `triangular`: full.
        rank: Of the low-rank factor.
        min_log_scale: Softly, the least logarithm of a standard deviation.
        max_log_scale: Softly, the greatest.

    Raises:
        UnknownNameError: There is no such covariance.
        ParamsError: `modes` or `rank` is below one, or the bounds of the scale are not in order.
    """

    def __init__(
        self,
        teacher_dims: Mapping[str, int],
        *,
        modes: int,
        covariance: str,
        rank: int,
        min_log_scale: float,
        max_log_scale: float,
    ) -> None:
        super().__init__()
        require_at_least_one(modes=modes, rank=rank)
        if min_log_scale >= max_log_scale:
            raise ParamsError(
                "heads.min_log_scale must be below heads.max_log_scale, got "
                f"{min_log_scale} and {max_log_scale}."
            )
        if covariance not in COVARIANCES:
            raise UnknownNameError("heads.covariance", covariance, COVARIANCES)
        self.dims, self.modes, self.width = dict(teacher_dims), modes, sum(teacher_dims.values())
        self._middle = (max_log_scale + min_log_scale) / 2
        self._reach = (max_log_scale - min_log_scale) / 2
        self.factors, self.triangles = nn.ParameterList(), nn.ParameterList()
        for dim in self.dims.values():
            if covariance == "low-rank":
                self.factors.append(nn.Parameter(torch.empty(modes, dim, rank)))
            elif covariance == "triangular":
                self.triangles.append(nn.Parameter(torch.zeros(modes, dim, dim)))

    def rows_of(self, teacher: str) -> Tensor:
        """Return which outputs are one teacher's: bool, `(modes * width,)`."""
        owners = [name for name, dim in self.dims.items() for _ in range(dim)] * self.modes
        return torch.tensor([owner == teacher for owner in owners])

    def weights_of(self, teacher: str) -> Tensor:
        """Return which logits of the modes' weights are one teacher's: bool, `(modes * n_teachers,)`."""
        return torch.tensor([name == teacher for name in self.dims] * self.modes)

    def covariance_of(self, teacher: str) -> list[str]:
        """Name the parameters that are one teacher's whole."""
        place = list(self.dims).index(teacher)
        lists = {"factors": self.factors, "triangles": self.triangles}
        return [f"{name}.{place}" for name, matrices in lists.items() if len(matrices)]

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Start near a diagonal covariance, whatever the global seed."""
        for factor in self.factors:
            factor.normal_(0.0, 0.1 * factor.shape[-1] ** -0.5, generator=generator)

    def forward(
        self, mean: Tensor, raw_scale: Tensor, raw_weights: Tensor
    ) -> dict[str, Prediction]:
        """Return one prediction a teacher, in float32 at least.

        Args:
            mean: `(batch, modes * width)`, `width` being that of all teachers together.
            raw_scale: Logarithms of scales, not bounded yet, of the same shape.
            raw_weights: Logits of the modes' weights, `(batch, modes * n_teachers)`.
        """
        batch = len(mean)
        mean, raw_scale, raw_weights = map(widened, (mean, raw_scale, raw_weights))
        mean = mean.view(batch, self.modes, self.width)
        raw = raw_scale.view(batch, self.modes, self.width)
        log_scale: Tensor = _SoftClamp.apply(raw, self._middle, self._reach)  # type: ignore[no-untyped-call]
        weights = raw_weights.view(batch, self.modes, len(self.dims)).log_softmax(dim=1)
        widths = list(self.dims.values())
        return {
            name: Prediction(m, s, weights[..., place], self._factor(place), self._triangle(place))
            for place, (name, m, s) in enumerate(
                zip(self.dims, mean.split(widths, -1), log_scale.split(widths, -1), strict=True)
            )
        }

    def _factor(self, place: int) -> Tensor | None:
        return self.factors[place] if len(self.factors) else None

    def _triangle(self, place: int) -> Tensor | None:
        if not len(self.triangles):
            return None
        free: Tensor = self.triangles[place]
        return free.tril(-1) + torch.eye(free.shape[-1], dtype=free.dtype, device=free.device)


class _SoftClamp(torch.autograd.Function):
    """Wide and smooth: nearly the identity near `middle`, and never further from it than `reach`.

    For its gradient it keeps what it returns, which the losses keep too; torch's own operations, one after
    another, would write four arrays more.
    """

    @staticmethod
    def forward(ctx: Any, raw: Tensor, middle: float, reach: float) -> Tensor:
        clamped = raw.sub(middle).div_(reach).tanh_().mul_(reach).add_(middle)
        ctx.save_for_backward(clamped)
        ctx.bounds = middle, reach
        return clamped

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (clamped,) = ctx.saved_tensors
        middle, reach = ctx.bounds
        slope = clamped.sub(middle).square_().mul_(-1 / reach**2).add_(1)  # 1 - tanh^2
        return slope.mul_(gradients[0]), None, None


def require_at_least_one(**options: int | None) -> None:
    """Refuse numbers of heads below one; none is left to the default.

    Raises:
        ParamsError: One is.
    """
    for option, value in options.items():
        if value is not None and value < 1:
            raise ParamsError(f"heads.{option} must be at least 1, got {value}.")


def require_budget(heads: nn.Module, max_params: int | None) -> None:
    """Refuse heads that are larger than they may be.

    Raises:
        ParamsError: They have more than `max_params` parameters.
    """
    n_params = sum(weight.numel() for weight in heads.parameters())
    if max_params is not None and n_params > max_params:
        raise ParamsError(f"heads.max_params is {max_params:,}, these heads have {n_params:,}.")
