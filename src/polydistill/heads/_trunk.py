"""What the perceptron heads are: a trunk that all teachers share, and one thin linear layer for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from polydistill.contracts import Prediction
from polydistill.errors import ParamsError
from polydistill.heads._outputs import Outputs, require_budget


class TrunkHeads(nn.Module):
    """From the student to each teacher's mean and scale; nothing normalises, so the student's norm reaches the end.

    Args:
        student_dim: Width of the student's embeddings.
        teacher_dims: Width of each teacher's, by name.
        generator: Of the initial weights.
        hidden: Width of the trunk.
        scale_rank: Through how many numbers the trunk reaches all the scales; none: each scale reads the whole
            trunk. The error's size is a simpler thing than the embedding, and a narrow map of it costs less.
        depth: Hidden layers of the trunk; none: as many as these heads have by default.
        modes: Of the mixture.
        covariance: See `_outputs.Outputs`.
        rank: Of a low-rank covariance.
        min_log_scale: Softly, the least logarithm of a standard deviation.
        max_log_scale: Softly, the greatest.
        max_params: A budget: more parameters than these are refused.

    Raises:
        ParamsError: `scale_rank` is below one, or the budget is exceeded.
        UnknownNameError: There is no such covariance.
    """

    default_depth: int
    has_linear_map: bool
    """Whether a linear map from the student to the means stands beside the trunk."""

    def __init__(  # noqa: PLR0913 - its keywords are the options in params.yaml
        self,
        student_dim: int,
        teacher_dims: Mapping[str, int],
        generator: torch.Generator,
        *,
        hidden: int = 512,
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
        if scale_rank is not None and scale_rank < 1:
            raise ParamsError(f"heads.scale_rank must be at least 1, got {scale_rank}.")
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
        self.linear_mean = nn.Linear(student_dim, width) if self.has_linear_map else None
        self.mean = nn.Linear(hidden, width, bias=not self.has_linear_map)
        narrow = None if scale_rank is None or scale_rank >= hidden else scale_rank
        self.to_scale = nn.Linear(hidden, narrow, bias=False) if narrow else None
        self.log_scale = nn.Linear(narrow or hidden, width)
        self.log_weights = nn.Linear(hidden, len(teacher_dims) * modes)
        require_budget(self, max_params)
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """Start at a small map with unit scale, whatever the global seed."""
        means = self.mean if self.linear_mean is None else self.linear_mean
        narrow = [] if self.to_scale is None else [self.to_scale]
        for layer in (self.hidden, means, *narrow):
            layer.weight.normal_(0.0, layer.in_features**-0.5, generator=generator)
        small = [self.log_scale] if self.linear_mean is None else [self.mean, self.log_scale]
        for layer in (*self.layers, *small):
            weight = layer.get_parameter("weight")
            weight.normal_(0.0, 0.1 * weight.shape[1] ** -0.5, generator=generator)
        self.log_weights.weight.zero_()
        for name, bias in self.named_parameters():
            if name.endswith("bias"):
                bias.zero_()
        if self.outputs.modes > 1:  # equal modes would stay equal for ever
            means.bias.normal_(0.0, 0.5, generator=generator)
        self.outputs.initialise(generator)

    @property
    def teachers(self) -> tuple[str, ...]:
        """See `contracts.Heads.teachers`."""
        return tuple(self.outputs.dims)

    def own_rows(self, teacher: str) -> dict[str, Tensor]:
        """See `contracts.Heads.own_rows`: the trunk is shared, the layers after it are not."""
        logits = self.outputs.weights_of(teacher)
        rows = self._rows_of(teacher, {"linear_mean", "mean", "log_scale"})
        rows |= {f"log_weights.{part}": logits for part in ("weight", "bias")}
        whole = torch.ones(self.outputs.modes, dtype=torch.bool)
        return rows | {f"outputs.{name}": whole for name in self.outputs.covariance_of(teacher)}

    def mean_rows(self, teacher: str) -> dict[str, Tensor]:
        """See `contracts.Heads.mean_rows`."""
        return self._rows_of(teacher, {"linear_mean", "mean"})

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
        mean = self.mean(hidden)
        if self.linear_mean is not None:
            mean = self.linear_mean(student) + mean
        to_scale = hidden if self.to_scale is None else self.to_scale(hidden)
        predictions: dict[str, Prediction] = self.outputs(
            mean, self.log_scale(to_scale), self.log_weights(hidden)
        )
        return predictions
