"""The exponential moving average of the weights, which is part of the model and so of each checkpoint."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from transformers import TrainerCallback

_Tensors = list[Tensor] | tuple[Tensor, ...]
NAME = "average"
RAMP = 10
"""The average's decay is 2/11 at the second step and reaches .99 after about 900 steps, so that first weights are soon forgotten."""


def attach(model: nn.Module, decay: float | None) -> None:
    """Add an average of the student's and the heads' weights and buffers to a `DistillationModel`.

    Args:
        model: The model; the average starts from the weights after the first step, and before it is the present ones.
        decay: Share of the old average that a step keeps, in (0, 1), after the first steps. None: no average is added.
    """
    if decay is None:
        return

    @torch.no_grad()
    def blend(averages: _Tensors, weights: _Tensors, n_steps: Tensor | int) -> None:
        n = int(n_steps)
        kept = min(decay, (1 + n) / (RAMP + n))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, weights, 1 - kept)
        else:  # such as the number of batches of a batch norm
            torch._foreach_copy_(averages, weights)

    average = AveragedModel(_averaged(model), multi_avg_fn=blend, use_buffers=True)
    model.add_module(NAME, average.requires_grad_(requires_grad=False))


@contextmanager
def applied(model: nn.Module) -> Iterator[None]:
    """Give the model its averaged weights in the block; a model without an average keeps its own."""
    current = _tensors(_averaged(model)) if hasattr(model, NAME) else []
    before = [tensor.clone() for tensor in current]
    _use_average(model)
    try:
        yield
    finally:
        _copy(before, current)


def settle(model: nn.Module) -> None:
    """Replace the model's weights by their average, if it has one, and remove the average."""
    _use_average(model)
    if hasattr(model, NAME):
        delattr(model, NAME)


class UpdateAverage(TrainerCallback):
    """Updates the average after each step; a model without an average is left alone."""

    def on_step_end(self, *_: Any, **parts: Any) -> None:
        """Add the present weights to the average."""
        model = parts["model"]
        if hasattr(model, NAME):
            _average(model).update_parameters(_averaged(model))


def _average(model: nn.Module) -> AveragedModel:
    return cast("AveragedModel", model.get_submodule(NAME))


def _averaged(model: nn.Module) -> nn.Module:
    return nn.ModuleDict({part: model.get_submodule(part) for part in ("student", "heads")})


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _use_average(model: nn.Module) -> None:
    if hasattr(model, NAME):
        _copy(_tensors(_average(model).module), _tensors(_averaged(model)))


@torch.no_grad()
def _copy(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)
