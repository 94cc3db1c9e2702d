"""The last part of every head: means, softly bounded scales, and covariance parameters independent of the student."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from polydistill.contracts import Prediction, widened
from polydistill.errors import ParamsError, UnknownNameError

COVARIANCES = ("diagonal", "low-rank", "triangular")


class Outputs(nn.Module):
    """Splits the outputs computed for all teachers at once into one prediction per teacher.

    Args:
        teacher_dims: Width of each teacher's embeddings, by name.
        modes: The number of modes of the mixture.
        covariance: `diagonal`; `low-rank`, a diagonal plus a low-rank factor with `rank` columns; or `triangular`,
            a full covariance with a triangular factor of the precision.
        rank: Number of columns of the low-rank factor.
        bounds: Soft lower and upper bounds of a standard deviation's logarithm.

    Raises:
        UnknownNameError: `covariance` is not a known name.
        ParamsError: `modes` or `rank` is below one, or the lower bound is not below the upper bound.
    """

    def __init__(
        self,
        teacher_dims: Mapping[str, int],
        modes: int,
        covariance: str,
        rank: int,
        bounds: tuple[float, float],
    ) -> None:
        super().__init__()
        require_at_least_one(modes=modes, rank=rank)
        low, high = bounds
        if low >= high:
            raise ParamsError(
                f"heads.min_log_scale must be below heads.max_log_scale, got {low} and {high}."
            )
        if covariance not in COVARIANCES:
            raise UnknownNameError("heads.covariance", covariance, COVARIANCES)
        self.dims, self.modes, self.width = dict(teacher_dims), modes, sum(teacher_dims.values())
        self._middle, self._reach = (high + low) / 2, (high - low) / 2
        self.factors, self.triangles = nn.ParameterList(), nn.ParameterList()
        for dim in self.dims.values():
            if covariance == "low-rank":
                self.factors.append(nn.Parameter(torch.empty(modes, dim, rank)))
            elif covariance == "triangular":
                self.triangles.append(nn.Parameter(torch.zeros(modes, dim, dim)))

    def rows_of(self, teacher: str) -> Tensor:
        """Return a mask of one teacher's outputs: bool, `(modes * width,)`."""
        owners = [name for name, dim in self.dims.items() for _ in range(dim)] * self.modes
        return torch.tensor([owner == teacher for owner in owners])

    def weights_of(self, teacher: str) -> Tensor:
        """Return a mask of one teacher's mode-weight logits: bool, `(modes * n_teachers,)`."""
        return torch.tensor([name == teacher for name in self.dims] * self.modes)

    def covariance_of(self, teacher: str) -> list[str]:
        """Return the names of one teacher's covariance parameters; no other teacher uses them."""
        index = str(list(self.dims).index(teacher))
        return [name for name, _ in self.named_parameters() if name.endswith(f".{index}")]

    def initialise(self, generator: torch.Generator) -> None:
        """Initialise near a diagonal covariance, from `generator` alone."""
        for factor in self.factors:
            factor.normal_(0.0, 0.1 * factor.shape[-1] ** -0.5, generator=generator)

    def forward(
        self, mean: Tensor, raw_scale: Tensor, raw_weights: Tensor
    ) -> dict[str, Prediction]:
        """Return one prediction per teacher, in float32 or a wider type.

        Args:
            mean: `(batch, modes * width)`; `width` is the sum of the teachers' widths.
            raw_scale: Unbounded logarithms of the scales, of the same shape.
            raw_weights: Logits of the modes' weights, `(batch, modes * n_teachers)`.
        """
        batch = len(mean)
        mean, raw_scale, raw_weights = map(widened, (mean, raw_scale, raw_weights))
        mean = mean.view(batch, self.modes, self.width)
        raw = raw_scale.view(batch, self.modes, self.width)
        log_scale: Tensor = _SoftClamp.apply(raw, self._middle, self._reach)  # type: ignore[no-untyped-call]
        weights = raw_weights.view(batch, self.modes, len(self.dims)).log_softmax(dim=1)
        widths = list(self.dims.values())
        means, scales = mean.split(widths, -1), log_scale.split(widths, -1)
        return {
            name: Prediction(means[n], scales[n], weights[..., n], *self._covariance(n))
            for n, name in enumerate(self.dims)
        }

    def _covariance(self, index: int) -> tuple[Tensor | None, Tensor | None]:
        """Return one teacher's `factor` and `triangle`; see `contracts.Prediction`."""
        if len(self.factors):
            return self.factors[index], None
        if not len(self.triangles):
            return None, None
        free: Tensor = self.triangles[index]
        identity = torch.eye(free.shape[-1], dtype=free.dtype, device=free.device)
        return None, free.tril(-1) + identity


class TeacherHeads(nn.Module, ABC):
    """Base class of heads; `outputs` computes each teacher's `Prediction` and may add a covariance per teacher."""

    by_batch: ClassVar[bool] = False
    outputs: Outputs

    @property
    def teachers(self) -> tuple[str, ...]:
        """See `contracts.Heads.teachers`."""
        return tuple(self.outputs.dims)

    def own_rows(self, teacher: str) -> dict[str, Tensor]:
        """See `contracts.Heads.own_rows`."""
        whole = torch.ones(self.outputs.modes, dtype=torch.bool)
        own = {f"outputs.{name}": whole for name in self.outputs.covariance_of(teacher)}
        return self._rows_of(teacher) | own

    def mean_rows(self, teacher: str) -> dict[str, Tensor]:
        """See `contracts.Heads.mean_rows`: the rows of all layers named `mean`."""
        own = self.own_rows(teacher).items()
        return {name: rows for name, rows in own if "mean" in name.split(".")}

    @abstractmethod
    def _rows_of(self, teacher: str) -> dict[str, Tensor]:
        """Return `own_rows` without the covariance."""

    def _finish(self, generator: torch.Generator, max_params: int | None) -> None:
        """Check the number of parameters, then draw the initial weights from `generator` alone."""
        n_params = sum(weight.numel() for weight in self.parameters())
        if max_params is not None and n_params > max_params:
            raise ParamsError(f"heads.max_params is {max_params:,}, these heads have {n_params:,}.")
        with torch.no_grad():
            self._initialise(generator)
            self.outputs.initialise(generator)

    @abstractmethod
    def _initialise(self, generator: torch.Generator) -> None:
        """Draw the initial weights of all modules except `outputs`."""


class _SoftClamp(torch.autograd.Function):
    """A smooth clamp to `middle ± reach`, which is nearly the identity near `middle`.

    Only the output is saved for the backward pass, and the losses save the same tensor. The same computation with
    built-in torch operations would write four more arrays.
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
    """Check that every option is at least one; None is allowed and means the default.

    Raises:
        ParamsError: An option is below one.
    """
    for option, value in options.items():
        if value is not None and value < 1:
            raise ParamsError(f"heads.{option} must be at least 1, got {value}.")
