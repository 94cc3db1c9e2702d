"""Heads that share a deep trunk: a perceptron for all teachers, and one linear layer for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from polydistill.contracts import Prediction
from polydistill.heads import HEADS
from polydistill.heads._outputs import Outputs, require_budget


@HEADS.register("shared-trunk")
class SharedTrunkHeads(nn.Module):
    """A perceptron with residual layers; nothing normalises, so the student's norm reaches the end.

    Args:
        student_dim: Width of the student's embeddings.
        teacher_dims: Width of each teacher's, by name.
        generator: Of the initial weights.
        hidden: Width of the trunk.
        depth: Hidden layers of the trunk.
        modes: Of the mixture.
        covariance: See `_outputs.Outputs`.
        rank: Of a low-rank covariance.
        min_log_scale: Softly, the least logarithm of a standard deviation.
        max_log_scale: Softly, the greatest.
        max_params: A budget: more parameters than these are refused.

    Raises:
        ParamsError: The budget is exceeded.
        UnknownNameError: There is no such covariance.
    """

    def __init__(  # noqa: PLR0913 - its keywords are the options in params.yaml
        self,
        student_dim: int,
        teacher_dims: Mapping[str, int],
        generator: torch.Generator,
        *,
        hidden: int = 512,
        depth: int = 2,
        modes: int = 1,
        covariance: str = "diagonal",
        rank: int = 8,
        min_log_scale: float = -6.0,
        max_log_scale: float = 4.0,
        max_params: int | None = None,
    ) -> None:
        super().__init__()
        self.outputs = Outputs(
            teacher_dims,
            modes=modes,
            covariance=covariance,
            rank=rank,
            min_log_scale=min_log_scale,
            max_log_scale=max_log_scale,
        )
        self.first = nn.Linear(student_dim, hidden)
        self.layers = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(depth - 1)])
        width = self.outputs.width * modes
        self.mean, self.log_scale = nn.Linear(hidden, width), nn.Linear(hidden, width)
        self.log_weights = nn.Linear(hidden, len(teacher_dims) * modes)
        require_budget(self, max_params)
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """Start near zero means with unit scale, whatever the global seed."""
        small = {self.log_scale, *self.layers}
        for layer in (self.first, *self.layers, self.mean, self.log_scale, self.log_weights):
            linear = cast("nn.Linear", layer)
            size = 0.1 if layer in small else 1.0
            linear.weight.normal_(0.0, size * linear.in_features**-0.5, generator=generator)
            linear.bias.zero_()
        self.log_weights.weight.zero_()
        if self.outputs.modes > 1:  # equal modes would stay equal for ever
            self.mean.bias.normal_(0.0, 0.5, generator=generator)
        self.outputs.initialise(generator)

    def forward(self, student: Tensor) -> dict[str, Prediction]:
        """Predict each teacher from student embeddings `(batch, student_dim)`."""
        hidden = nn.functional.gelu(self.first(student))
        for layer in self.layers:
            hidden = hidden + nn.functional.gelu(layer(hidden))
        predictions: dict[str, Prediction] = self.outputs(
            self.mean(hidden), self.log_scale(hidden), self.log_weights(hidden)
        )
        return predictions
