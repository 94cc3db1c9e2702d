"""The divergence guard: checks of a run's health, and the record of its restarts."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import entropy
from torch import Tensor
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from polydistill.config.training import GuardParams
from polydistill.project.files import write_atomic

LEAST_STEPS = 16
"""Minimum number of losses for an estimate of their spread."""
MOST_STEPS = 128
"""Maximum number of preceding losses with which a loss is compared."""
LEAST_SPREAD = 0.05
"""Lower bound of the losses' interquartile range, in the loss' unit."""
LEAST_SHARE = 0.5
RECORD = "guard.json"


class UnhealthyError(Exception):
    """Training has become unhealthy; `trainer.train` catches it and goes back to the last good state."""


@dataclass(frozen=True)
class Restart:
    """One return to the last good state with half the learning rate.

    Attributes:
        step: The step at which the guard found a problem.
        resumed_from: The step from which training resumed with half the learning rate.
        reason: The problem.
    """

    step: int
    resumed_from: int
    reason: str


class LossWatch(TrainerCallback, ExportableState):
    """Checks the training loss of every step.

    Its state is part of every checkpoint, so a resumed run behaves like an uninterrupted run.

    Args:
        spike: See `params.GuardParams`.
    """

    def __init__(self, spike: float) -> None:
        self.spike = spike
        self.seen: list[float] = []

    def state(self) -> dict[str, Any]:
        """Return the state saved in a checkpoint; see `ExportableState`."""
        return {"args": {"spike": self.spike}, "attributes": {"seen": list(self.seen)}}

    def check(self, loss: float, share: float = 1.0) -> None:
        """Check one step's loss.

        Args:
            loss: The loss of the batch.
            share: The batch's rows as a share of a full batch. The mean of a small last batch is too noisy to detect
                a jump.

        Raises:
            UnhealthyError: The loss is not finite, or is far above the preceding losses.
        """
        if not math.isfinite(loss):
            raise UnhealthyError(f"the loss is {loss}")
        if share < LEAST_SHARE:
            return
        if len(self.seen) >= LEAST_STEPS:
            low, middle, high = np.quantile(self.seen, (0.25, 0.5, 0.75))
            limit = middle + self.spike * max(high - low, LEAST_SPREAD)
            if loss > limit:
                raise UnhealthyError(f"the loss jumped from {middle:.4g} to {loss:.4g}")
        self.seen = [*self.seen[1 - MOST_STEPS :], loss]


class RatesOfTheSchedule(TrainerCallback):
    """Sets the learning rate of the first step from the schedule.

    A checkpoint stores the learning rate of its next step. After the guard has gone back to a checkpoint, training
    must continue with half of that learning rate.
    """

    def on_train_begin(self, *_: Any, **parts: Any) -> None:
        """Set the learning rates of all parameter groups from the schedule."""
        schedule, groups = parts["lr_scheduler"], parts["optimizer"].param_groups
        for group, base, factor in zip(groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
            group["lr"] = base * factor(schedule.last_epoch)


def check_embeddings(embedded: Tensor, limits: GuardParams) -> None:
    """Check the student's embeddings of some held-out examples, `(n, dim)`.

    Raises:
        UnhealthyError: The embeddings are not finite, hardly vary, share one direction, or have too low a rank.
    """
    if len(embedded) < 2:
        return
    values = embedded.detach().cpu().double()
    if not torch.isfinite(values).all():
        raise UnhealthyError("the student's embeddings are not finite")
    centred = values - values.mean(dim=0)
    variance = float(centred.square().mean())
    if variance < limits.min_variance:
        raise UnhealthyError(f"the student's embeddings have a variance of {variance:.2g}")
    cosine = mean_cosine(values)
    if cosine > limits.max_mean_cosine:
        raise UnhealthyError(f"the student's embeddings have a mean cosine of {cosine:.4f}")
    rank, reachable = effective_rank(centred), min(len(values) - 1, values.shape[1])
    if not rank >= min(limits.min_effective_rank, 0.5 * reachable):
        raise UnhealthyError(f"the student's embeddings have an effective rank of {rank:.2f}")


def mean_cosine(values: Tensor) -> float:
    """Return the mean cosine of all pairs of different rows of `(n, dim)`."""
    unit = torch.nn.functional.normalize(values, dim=-1)
    n_rows = len(unit)
    total = unit.sum(dim=0).square().sum() - unit.square().sum()
    return float(total / (n_rows * (n_rows - 1)))


def effective_rank(centred: Tensor) -> float:
    """Return the effective number of dimensions of the rows of `(n, dim)`, in [1, `dim`].

    References:
        Roy, Vetterli 2007, "The effective rank": the exponential of the entropy of the normalised
        singular values.
    """
    return float(np.exp(entropy(torch.linalg.svdvals(centred).numpy(force=True))))


def read_restarts(checkpoint: Path) -> list[Restart]:
    """Return the restarts that a complete checkpoint contains."""
    content = json.loads((checkpoint / RECORD).read_text(encoding="utf-8"))
    return [Restart(**entry) for entry in content]


def write_restarts(checkpoint: Path, restarts: Sequence[Restart]) -> None:
    """Write the restarts to a checkpoint, so that a resumed run uses the same learning rates."""
    write_atomic(checkpoint / RECORD, json.dumps([asdict(one) for one in restarts]))


def rate_factor(restarts: Sequence[Restart], step: int) -> float:
    """Return the factor of the learning rates at `step`: one half per restart before it."""
    return float(0.5 ** sum(one.resumed_from <= step for one in restarts))
