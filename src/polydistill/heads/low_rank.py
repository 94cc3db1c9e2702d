"""Heads that share a thin layer: a linear map for the means, and a hidden layer for what is not linear."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polydistill.contracts import Prediction
from polydistill.heads import HEADS
from polydistill.heads._outputs import Outputs, require_budget


@HEADS.register("low-rank")
class LowRankHeads(nn.Module):
    """A linear map and a shared hidden layer, from the student to each teacher's mean and scale.

    The student's norm reaches the heads: nothing normalises their input.

    Args:
        student_dim: Width of the student's embeddings.
        teacher_dims: Width of each teacher's, by name.
        generator: Of the initial weights.
        hidden: Width of the shared hidden layer.
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
        width = self.outputs.width * modes
        self.hidden = nn.Linear(student_dim, hidden)
        self.linear_mean = nn.Linear(student_dim, width)
        self.mean = nn.Linear(hidden, width, bias=False)
        self.log_scale = nn.Linear(hidden, width)
        self.log_weights = nn.Linear(hidden, len(teacher_dims) * modes)
        require_budget(self, max_params)
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """Start at a small linear map with unit scale, whatever the global seed."""
        for layer in (self.hidden, self.linear_mean):
            layer.weight.normal_(0.0, layer.in_features**-0.5, generator=generator)
            layer.bias.zero_()
        for weight in (self.mean.weight, self.log_scale.weight):
            weight.normal_(0.0, 0.1 * weight.shape[1] ** -0.5, generator=generator)
        for bias in (self.log_scale.bias, self.log_weights.weight, self.log_weights.bias):
            bias.zero_()
        if self.outputs.modes > 1:  # equal modes would stay equal for ever
            self.linear_mean.bias.normal_(0.0, 0.5, generator=generator)
        self.outputs.initialise(generator)

    def forward(self, student: Tensor) -> dict[str, Prediction]:
        """Predict each teacher from student embeddings `(batch, student_dim)`."""
        hidden = nn.functional.gelu(self.hidden(student))
        mean = self.linear_mean(student) + self.mean(hidden)
        predictions: dict[str, Prediction] = self.outputs(
            mean, self.log_scale(hidden), self.log_weights(hidden)
        )
        return predictions
