"""The heads of the published text setting, rebuilt from its description: one wide perceptron per teacher."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polydistill.contracts import Prediction

WIDTH = 1.4  # of each hidden layer, as a multiple of the teacher's width
LAYERS = 3
MIDDLE, REACH = (
    -1.0,
    5.0,
)  # the same soft bounds of the scale as our heads, so that only the size differs


class WideHeads(nn.Module):
    """One perceptron per teacher. Teachers of width 1024, 1024, 1024 and 4096 and a student of width 384 need 138M weights.

    Args:
        student_dim: The width of the student's embeddings.
        teacher_dims: The width of each teacher's embeddings, by name.
        seed: The seed of the initial weights.
    """

    def __init__(self, student_dim: int, teacher_dims: Mapping[str, int], seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global state
            torch.manual_seed(seed)
            self.by_teacher = nn.ModuleList(
                [_perceptron(student_dim, dim) for dim in teacher_dims.values()]
            )
        self._names = tuple(teacher_dims)

    def forward(self, student: Tensor) -> dict[str, Prediction]:
        """Predict each teacher from student embeddings `(batch, student_dim)`."""
        return {
            name: _prediction(perceptron(student))
            for name, perceptron in zip(self._names, self.by_teacher, strict=True)
        }


def _perceptron(student_dim: int, dim: int) -> nn.Sequential:
    hidden = round(WIDTH * dim)
    layers: list[nn.Module] = []
    for width in (student_dim, *[hidden] * (LAYERS - 1)):
        layers += [nn.Linear(width, hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, 2 * dim))


def _prediction(outputs: Tensor) -> Prediction:
    mean, raw = outputs.unsqueeze(1).chunk(2, dim=-1)  # (batch, 1, dim) each
    log_scale = MIDDLE + REACH * torch.tanh((raw - MIDDLE) / REACH)
    return Prediction(mean, log_scale, mean.new_zeros(len(mean), 1))
