"""Heads that share a trunk: one hidden layer for all teachers, one thin output for each."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polydistill.contracts import Prediction
from polydistill.errors import ParamsError
from polydistill.heads import HEADS


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
        min_log_scale: Softly, the least logarithm of a standard deviation.
        max_log_scale: Softly, the greatest.
        max_params: A budget: more parameters than these are refused.

    Raises:
        ParamsError: The budget is exceeded.
    """

    def __init__(  # noqa: PLR0913 - its keywords are the options in params.yaml
        self,
        student_dim: int,
        teacher_dims: Mapping[str, int],
        generator: torch.Generator,
        *,
        hidden: int = 512,
        modes: int = 1,
        min_log_scale: float = -6.0,
        max_log_scale: float = 4.0,
        max_params: int | None = None,
    ) -> None:
        super().__init__()
        self.dims, self.modes = dict(teacher_dims), modes
        self._middle = (max_log_scale + min_log_scale) / 2
        self._reach = (max_log_scale - min_log_scale) / 2
        width = sum(self.dims.values())
        self.hidden = nn.Linear(student_dim, hidden)
        self.linear_mean = nn.Linear(student_dim, width * modes)
        self.mean = nn.Linear(hidden, width * modes, bias=False)
        self.log_scale = nn.Linear(hidden, width * modes)
        self.log_weights = nn.Linear(hidden, len(self.dims) * modes)
        n_params = sum(weight.numel() for weight in self.parameters())
        if max_params is not None and n_params > max_params:
            raise ParamsError(f"heads.max_params is {max_params:,}, these heads have {n_params:,}.")
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """Start at a small linear map with unit scale, whatever the global seed."""
        for layer in (self.hidden, self.linear_mean):
            layer.weight.normal_(0.0, layer.in_features**-0.5, generator=generator)
            layer.bias.zero_()
        for weight in (self.mean.weight, self.log_scale.weight):
            weight.normal_(0.0, 0.1 * weight.shape[1] ** -0.5, generator=generator)
        self.log_scale.bias.zero_()
        self.log_weights.weight.zero_()
        self.log_weights.bias.zero_()
        if self.modes > 1:  # equal modes would stay equal for ever
            self.linear_mean.bias.normal_(0.0, 0.5, generator=generator)

    def forward(self, student: Tensor) -> dict[str, Prediction]:
        """Predict each teacher from student embeddings `(batch, student_dim)`."""
        batch, width = len(student), sum(self.dims.values())
        hidden = nn.functional.gelu(self.hidden(student))
        mean = (self.linear_mean(student) + self.mean(hidden)).view(batch, self.modes, width)
        raw = self.log_scale(hidden).view(batch, self.modes, width)
        # Wide and smooth: nearly the identity inside, and never beyond its two ends.
        log_scale = self._middle + self._reach * torch.tanh((raw - self._middle) / self._reach)
        weights = (
            self.log_weights(hidden).view(batch, self.modes, len(self.dims)).log_softmax(dim=1)
        )
        widths = list(self.dims.values())
        return {
            name: Prediction(m, s, weights[..., place])
            for place, (name, m, s) in enumerate(
                zip(self.dims, mean.split(widths, -1), log_scale.split(widths, -1), strict=True)
            )
        }
