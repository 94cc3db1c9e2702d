"""Perceptron heads with a trunk that all teachers share and one linear layer per teacher."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polydistill.config.nodes import Depth, Limit, Width
from polydistill.contracts import Prediction
from polydistill.heads import HEADS
from polydistill.heads._outputs import Outputs, TeacherHeads, require_at_least_one

SMALL = 0.1
"""Initial scale of residual layers, of log scales, and of the trunk's part of the means beside a linear map."""


@HEADS.register("shared-trunk")
class SharedTrunkHeads(TeacherHeads):
    """A shared trunk, then linear layers per teacher; without normalisation, so outputs depend on the student's norm.

    Args:
        student_dim: Width of the student's embeddings.
        teacher_dims: Width of each teacher's embeddings, by name.
        generator: Random generator for the initial weights.
        hidden: Width of the trunk.
        mean_rank: Width of a bottleneck between the trunk and all the means. None: no bottleneck. A
            linear map from the student to the means bypasses the bottleneck.
        scale_rank: Width of a bottleneck between the trunk and all the scales. The size of an error is simpler
            to predict than the embedding, so a small width is enough.
        depth: Number of hidden layers of the trunk. None: the default of the class.
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
    """

    default_depth = 2
    has_linear_map = False
    """Whether the means also depend linearly on the student's embedding."""

    def __init__(  # noqa: PLR0913 - its keywords are the options in params.yaml
        self,
        student_dim: int,
        teacher_dims: Mapping[str, int],
        generator: torch.Generator,
        *,
        hidden: Width = 512,
        mean_rank: Width | None = None,
        scale_rank: Width | None = None,
        depth: Depth | None = None,
        modes: Width = 1,
        covariance: str = "diagonal",
        rank: Width = 8,
        min_log_scale: float = -6.0,
        max_log_scale: float = 4.0,
        max_params: Limit | None = None,
    ) -> None:
        super().__init__()
        require_at_least_one(hidden=hidden, mean_rank=mean_rank, scale_rank=scale_rank, depth=depth)
        bounds = min_log_scale, max_log_scale
        self.outputs = Outputs(teacher_dims, modes, covariance, rank, bounds)
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
        self._finish(generator, max_params)

    def _initialise(self, generator: torch.Generator) -> None:
        """Draw initial weights that give scales near one, from `generator` alone."""
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
        if self.outputs.modes > 1:  # equal modes would get equal gradients and stay equal
            self.mean.bias.normal_(0.0, 0.5, generator=generator)

    def _rows_of(self, teacher: str) -> dict[str, Tensor]:
        """See `TeacherHeads._rows_of`: the trunk is shared, the output layers are not."""
        rows, logits = self.outputs.rows_of(teacher), self.outputs.weights_of(teacher)
        layers = {"mean": rows, "log_scale": rows, "log_weights": logits}
        return {f"{n}.{part}": layers[n] for n in layers for part in ("weight", "bias")}

    def forward(
        self,
        student: Tensor,
        masks: Mapping[str, Tensor] | None = None,  # noqa: ARG002 - rows do not depend on each other
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
    """Return a map from `width` to `rank` numbers, or None if it is not narrower, and the resulting width."""
    if rank is None or rank >= width:
        return None, width
    return nn.Linear(width, rank, bias=False), rank


def _draw(weight: Tensor, scale: float, generator: torch.Generator) -> None:
    """Fill a weight `(outputs, inputs)` so that outputs are about `scale` times as large as inputs."""
    if weight.numel():
        weight.normal_(0.0, scale * weight.shape[1] ** -0.5, generator=generator)
