"""Baseline heads: one perceptron with batch normalisation per teacher."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from polydistill.config.nodes import Depth, Limit, Width
from polydistill.contracts import Prediction, widened
from polydistill.heads import HEADS
from polydistill.heads._outputs import Outputs, TeacherHeads, require_at_least_one

Parts = tuple[Tensor, ...]
"""Means, unbounded log scales and mode-weight logits."""


@HEADS.register("batch-norm-mlp")
class BatchNormMlpHeads(TeacherHeads):
    """Linear layers with batch normalisation and ReLU; with the loss `cosine` this is SimReg.

    SimReg minimises `2 - 2 cos` between the output and the teacher's embedding, which is twice `cosine`. Both
    have the same minimum, and an optimiser that is invariant to the gradient's scale takes the same steps. With
    `weighting: none` the teachers' losses keep their scale, as in SimReg. In training, batch statistics are computed
    over the rows for which the teacher has an embedding, so the outputs depend on a row's norm only relative to
    the batch. In evaluation the running statistics are used; they are part of every checkpoint and bundle.

    Args:
        student_dim: Width of the student's embeddings.
        teacher_dims: Width of each teacher's embeddings, by name.
        generator: Random generator for the initial weights.
        hidden: Width of each hidden layer.
        depth: Number of hidden layers.
        modes: The number of modes of the mixture.
        covariance: See `_outputs.Outputs`.
        rank: The rank of a low-rank covariance.
        min_log_scale: Soft lower bound of a standard deviation's logarithm.
        max_log_scale: Soft upper bound of a standard deviation's logarithm.
        max_params: Maximum number of parameters. None: no limit.

    Raises:
        ParamsError: A width, rank or depth is below one, `min_log_scale` is not below `max_log_scale`, or the
            heads have more than `max_params` parameters.
        UnknownNameError: `covariance` is not a known name.

    References:
        Navaneet, Koohpayegani, Tejankar, Pirsiavash 2021, "SimReg: regression as a simple yet effective tool
        for self-supervised knowledge distillation", arXiv:2201.05131. In SimReg the widths depend on
        the student's width. The outputs for scales and mode weights, which a likelihood needs, are added here.
    """

    by_batch = True

    def __init__(  # noqa: PLR0913 - its keywords are the options in params.yaml
        self,
        student_dim: int,
        teacher_dims: Mapping[str, int],
        generator: torch.Generator,
        *,
        hidden: Width = 512,
        depth: Depth = 2,
        modes: Width = 1,
        covariance: str = "diagonal",
        rank: Width = 8,
        min_log_scale: float = -6.0,
        max_log_scale: float = 4.0,
        max_params: Limit | None = None,
    ) -> None:
        super().__init__()
        require_at_least_one(hidden=hidden, depth=depth)
        bounds = min_log_scale, max_log_scale
        self.outputs = Outputs(teacher_dims, modes, covariance, rank, bounds)
        self.perceptrons = nn.ModuleList(
            [_Perceptron(student_dim, dim, hidden, depth, modes) for dim in teacher_dims.values()]
        )
        self._finish(generator, max_params)

    def _initialise(self, generator: torch.Generator) -> None:
        """Draw small weights; batch normalisation keeps torch's initial values."""
        for layer in self.perceptrons.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0.0, layer.in_features**-0.5, generator=generator)
                layer.bias.zero_()
        if self.outputs.modes > 1:  # equal modes would get equal gradients and stay equal
            for perceptron in self.perceptrons:
                perceptron.get_parameter("mean.bias").normal_(0.0, 0.5, generator=generator)

    def _rows_of(self, teacher: str) -> dict[str, Tensor]:
        """See `TeacherHeads._rows_of`: teachers share no parameters."""
        index = self.teachers.index(teacher)
        return {
            f"perceptrons.{index}.{name}": torch.ones(len(weight), dtype=torch.bool)
            for name, weight in self.perceptrons[index].named_parameters()
        }

    def forward(
        self, student: Tensor, masks: Mapping[str, Tensor] | None = None
    ) -> dict[str, Prediction]:
        """See `contracts.Heads`."""
        masks = masks or {}
        parts = [
            perceptron(student, masks.get(teacher))
            for teacher, perceptron in zip(self.teachers, self.perceptrons, strict=True)
        ]
        means, scales, weights = zip(*parts, strict=True)
        predictions: dict[str, Prediction] = self.outputs(
            torch.cat(means, dim=-1), torch.cat(scales, dim=-1), torch.stack(weights, dim=-1)
        )
        return predictions


class _Perceptron(nn.Module):
    """Maps student embeddings to one teacher's outputs.

    The means and log scales are `(batch, modes, teacher_dim)`, the mode-weight logits `(batch, modes)`.
    """

    def __init__(
        self, student_dim: int, teacher_dim: int, hidden: int, depth: int, modes: int
    ) -> None:
        super().__init__()
        self._shape = (modes, teacher_dim)
        widths = [student_dim, *[hidden] * depth]
        self.layers = nn.ModuleList(
            [nn.Linear(before, after) for before, after in pairwise(widths)]
        )
        self.norms = nn.ModuleList([_RowsNorm(hidden) for _ in range(depth)])
        self.mean = nn.Linear(hidden, modes * teacher_dim)
        self.log_scale = nn.Linear(hidden, modes * teacher_dim)
        self.log_weights = nn.Linear(hidden, modes)

    def forward(self, student: Tensor, mask: Tensor | None) -> Parts:
        """Return the outputs; in training mode, missing rows get zeros and do not enter the batch statistics."""
        is_masked = mask is not None and self.training
        rows = student[mask] if is_masked else student
        for layer, norm in zip(self.layers, self.norms, strict=True):
            rows = torch.relu(norm(layer(rows)))
        shape = (len(rows), *self._shape)
        mean, log_scale = self.mean(rows).view(shape), self.log_scale(rows).view(shape)
        parts = (mean, log_scale, self.log_weights(rows))
        if not is_masked:
            return parts
        return tuple(
            one.new_zeros(len(student), *one.shape[1:]).index_put((mask,), one) for one in parts
        )


class _RowsNorm(nn.BatchNorm1d):
    """Batch normalisation that uses the running statistics if a batch has fewer than two rows."""

    def forward(self, rows: Tensor) -> Tensor:
        rows = widened(rows)  # a variance is a difference of large numbers
        if len(rows) > 1 or not self.training:
            return super().forward(rows)
        return nn.functional.batch_norm(
            rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )
