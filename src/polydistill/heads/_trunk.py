"""What the perceptron heads are: a trunk that all teachers share, and one thin linear layer for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from polydistill.contracts import Prediction
from polydistill.heads._outputs import Outputs, require_at_least_one, require_budget

SMALL = 0.1
"""What stands beside something larger starts with so small a share: the trunk, further layers, the scales."""


class TrunkHeads(nn.Module):
    """From the student to each teacher's mean and scale; nothing normalises, so the student's norm reaches the end.

    Args:
        student_dim: Width of the student's embeddings.
        teacher_dims: Width of each teacher's, by name.
        generator: Of the initial weights.
        hidden: Width of the trunk.
        mean_rank: Through how many numbers the trunk reaches all the means; none: each mean reads the whole trunk.
            A linear map from the student to the means, where there is one, stays whole.
        scale_rank: The same of the scales. The error's size is a simpler thing than the embedding, and fewer
            numbers are enough for it.
        depth: Hidden layers of the trunk; none: as many as these heads have by default.
        modes: Of the mixture.
        covariance: See `_outputs.Outputs`.
        rank: Of a low-rank covariance.
        min_log_scale: Softly, the least logarithm of a standard deviation.
        max_log_scale: Softly, the greatest.
        max_params: A budget: more parameters than these are refused.

    Raises:
        ParamsError: A width, rank or depth is below one, the scale's bounds are not in order, or the budget is
            exceeded.
        UnknownNameError: There is no such covariance.
    """

    default_depth: int
    has_linear_map: bool
    """Whether the means read the student itself beside the trunk."""

    def __init__(  # noqa: PLR0913 - its keywords are the options in params.yaml
        self,
        student_dim: int,
        teacher_dims: Mapping[str, int],
        generator: torch.Generator,
        *,
        hidden: int = 512,
        mean_rank: int | None = None,
        scale_rank: int | None = None,
        depth: int | None = None,
        modes: int = 1,
        covariance: str = "diagonal",
        rank: int = 8,
        min_log_scale: float = -6.0,
        max_log_scale: float = 4.0,
        max_params: int | None = None,
    ) -> None:
        super().__init__()
        require_at_least_one(hidden=hidden, mean_rank=mean_rank, scale_rank=scale_rank, depth=depth)
        self.outputs = Outputs(
            teacher_dims,
            modes=modes,
            covariance=covariance,
            rank=rank,
            min_log_scale=min_log_scale,
            max_log_scale=max_log_scale,
        )
        width = self.outputs.width * modes
        self.hidden = nn.Linear(student_dim, hidden)
        further = (depth or self.default_depth) - 1
        self.layers = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(further)])
        self._direct = student_dim if self.has_linear_map else 0
        self.to_mean, to_means = _narrowed(hidden, mean_rank)
        self.to_scale, to_scales = _narrowed(hidden, scale_rank)
        self.mean = nn.Linear(self._direct + to_means, width)
        self.log_scale = nn.Linear(to_scales, width)
        self.log_weights = nn.Linear(hidden, len(teacher_dims) * modes)
        require_budget(self, max_params)
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """Start at a small map with unit scale, whatever the global seed."""
        narrow = [layer for layer in (self.to_mean, self.to_scale) if layer is not None]
        for layer in (self.hidden, *narrow):
            _draw(layer.weight, 1.0, generator)
        direct, of_trunk = self.mean.weight.tensor_split([self._direct], dim=1)
        _draw(direct, 1.0, generator)
        _draw(of_trunk, SMALL if self.has_linear_map else 1.0, generator)
        for layer in (*self.layers, self.log_scale):
            _draw(layer.get_parameter("weight"), SMALL, generator)
        self.log_weights.weight.zero_()
        for name, bias in self.named_parameters():
            if name.endswith("bias"):
                bias.zero_()
        if self.outputs.modes > 1:  # equal modes would stay equal for ever
            self.mean.bias.normal_(0.0, 0.5, generator=generator)
        self.outputs.initialise(generator)

    @property
    def teachers(self) -> tuple[str, ...]:
        """See `contracts.Heads.teachers`."""
        return tuple(self.outputs.dims)

    def own_rows(self, teacher: str) -> dict[str, Tensor]:
        """See `contracts.Heads.own_rows`: the trunk is shared, the layers after it are not."""
        logits = self.outputs.weights_of(teacher)
        rows = self._rows_of(teacher, {"mean", "log_scale"})
        rows |= {f"log_weights.{part}": logits for part in ("weight", "bias")}
        whole = torch.ones(self.outputs.modes, dtype=torch.bool)
        return rows | {f"outputs.{name}": whole for name in self.outputs.covariance_of(teacher)}

    def mean_rows(self, teacher: str) -> dict[str, Tensor]:
        """See `contracts.Heads.mean_rows`."""
        return self._rows_of(teacher, {"mean"})

    def _rows_of(self, teacher: str, layers: Collection[str]) -> dict[str, Tensor]:
        """Return which of these layers' outputs are one teacher's."""
        rows = self.outputs.rows_of(teacher)
        return {n: rows for n, _ in self.named_parameters() if n.partition(".")[0] in layers}

    def forward(
        self,
        student: Tensor,
        masks: Mapping[str, Tensor] | None = None,  # noqa: ARG002 - each row stands alone
    ) -> dict[str, Prediction]:
        """See `contracts.Heads`."""
        hidden = nn.functional.gelu(self.hidden(student))
        for layer in self.layers:
            hidden = hidden + nn.functional.gelu(layer(hidden))
        for_means = hidden if self.to_mean is None else self.to_mean(hidden)
        for_scales = hidden if self.to_scale is None else self.to_scale(hidden)
        if self.has_linear_map:
            for_means = torch.cat([student, for_means], dim=-1)
        predictions: dict[str, Prediction] = self.outputs(
            self.mean(for_means), self.log_scale(for_scales), self.log_weights(hidden)
        )
        return predictions


def _narrowed(width: int, rank: int | None) -> tuple[nn.Linear | None, int]:
    """Return a map from `width` to `rank` numbers, unless that makes it no narrower; and how wide it is then."""
    if rank is None or rank >= width:
        return None, width
    return nn.Linear(width, rank, bias=False), rank


def _draw(weight: Tensor, scale: float, generator: torch.Generator) -> None:
    """Fill `(outputs, inputs)` so that outputs are about `scale` times as large as inputs."""
    if weight.numel():
        weight.normal_(0.0, scale * weight.shape[1] ** -0.5, generator=generator)
