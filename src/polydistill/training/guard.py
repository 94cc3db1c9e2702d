"""The divergence guard: what a healthy run looks like, and what a run that was not has been through."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from polydistill.config.training import GuardParams
from polydistill.project.files import write_atomic

LEAST_STEPS = 16
"""Fewer losses say nothing of how much they vary."""
MOST_STEPS = 128
"""A loss is held against so many before it: further back, the model was another."""
LEAST_SPREAD = 0.05
"""Taken for the losses' interquartile range where they vary less; in the loss' unit."""
LEAST_SHARE = 0.5
RECORD = "guard.json"


class UnhealthyError(Exception):
    """Training left the path; the message says how. Caught by `trainer.train`, which goes back."""


@dataclass(frozen=True)
class Restart:
    """One time that the guard went back to the last good state with half the rate.

    Attributes:
        step: Where it noticed.
        resumed_from: The step that it went back to; from there on the rate is halved.
        reason: What it noticed.
    """

    step: int
    resumed_from: int
    reason: str


class LossWatch(TrainerCallback, ExportableState):
    """Looks at the training loss of every step.

    What it has seen is in every checkpoint, so that a run that was killed and one that was not see the same.

    Args:
        spike: See `params.GuardParams`.
    """

    def __init__(self, spike: float) -> None:
        self.spike = spike
        self.seen: list[float] = []

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: see `ExportableState`."""
        return {"args": {"spike": self.spike}, "attributes": {"seen": list(self.seen)}}

    def check(self, loss: float, share: float = 1.0) -> None:
        """Judge one step's loss.

        Args:
            loss: Of the batch.
            share: Of a whole batch's rows: the last one may have a few, whose mean says nothing of a jump.

        Raises:
            UnhealthyError: It is not finite, or far above those before it.
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
    """Gives the first step the rate of the schedule.

    A checkpoint holds the rate that its next step was to have; when the guard has gone back there, it is half of that.
    """

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,
    ) -> None:
        """Set the rates of all groups anew."""
        schedule = kwargs["lr_scheduler"]
        groups = kwargs["optimizer"].param_groups
        for group, base, factor in zip(groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
            group["lr"] = base * factor(schedule.last_epoch)


def check_embeddings(embedded: Tensor, limits: GuardParams) -> None:
    """Judge the student's embeddings of some held-out examples, `(n, dim)`.

    Raises:
        UnhealthyError: They are not finite, hardly vary, all point one way, or fill too few dimensions.
    """
    if len(embedded) < 2:
        return
    values = embedded.detach().double()
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
    if rank < min(limits.min_effective_rank, 0.5 * reachable):
        raise UnhealthyError(f"the student's embeddings have an effective rank of {rank:.2f}")


def mean_cosine(values: Tensor) -> float:
    """Return the mean cosine of all pairs of different rows of `(n, dim)`."""
    unit = torch.nn.functional.normalize(values, dim=-1)
    n_rows = len(unit)
    total = unit.sum(dim=0).square().sum() - unit.square().sum()
    return float(total / (n_rows * (n_rows - 1)))


def effective_rank(centred: Tensor) -> float:
    """Return how many dimensions the rows of `(n, dim)` fill: from 1 to `dim`.

    References:
        Roy, Vetterli 2007, "The effective rank": the exponential of the entropy of the normalised
        singular values.
    """
    values = torch.linalg.svdvals(centred)
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(torch.exp(-(shares * shares.log()).sum()))


def read_restarts(folder: Path) -> list[Restart]:
    """Return what an unfinished run in `folder` has been through."""
    record = folder / RECORD
    if not record.exists():
        return []
    return [Restart(**entry) for entry in json.loads(record.read_text(encoding="utf-8"))]


def write_restarts(folder: Path, restarts: Sequence[Restart]) -> None:
    """Note them beside the checkpoints: a run that is killed goes on with the same rates."""
    write_atomic(folder / RECORD, json.dumps([asdict(one) for one in restarts]))


def rate_factor(restarts: Sequence[Restart], step: int) -> float:
    """Return what the rates are multiplied by at `step`: halved once for each restart before it."""
    return float(0.5 ** sum(one.resumed_from <= step for one in restarts))
