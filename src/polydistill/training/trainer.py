"""The training loop: transformers' Trainer with this project's batches, steps and evaluation."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from polydistill.config.training import TrainingParams
from polydistill.contracts import Progress, Tracker, silent
from polydistill.data.images import without_warnings
from polydistill.errors import DivergedError, ParamsError
from polydistill.project.files import remove
from polydistill.training import averaging, guard
from polydistill.training.checkpoints import CompleteCheckpoints, newest_checkpoint, step_of
from polydistill.training.dataset import Batches, EpochsSampler, RowNumbers, prefetched
from polydistill.training.guard import Restart
from polydistill.training.processes import Shares, agreed, count, from_first, rank

HELD_OUT_BATCH = 512
Ints = NDArray[np.int64]
FIRST = "first.safetensors"
MARGIN = 1e-5
"""A norm of gradients is certainly small enough if it is this much below the largest; PyTorch adds 1e-6 to it."""
DEVICE_VARIABLE = "ACCELERATE_TORCH_DEVICE"


@dataclass(frozen=True)
class TrainingPlan:
    """Settings of a training run, without its model and data.

    Attributes:
        params: The training parameters.
        seed: Seed of the order of examples and of everything that Trainer seeds.
        precision: `float32`, `bfloat16` or `float16`.
        teachers: The teachers' names, in the model's order.
        folder: Folder of checkpoints; a run resumes from the last one in it.
        tracker: Called after each evaluation.
        progress: Called after each evaluation.
        callback: An additional callback, such as `warm_start.HoldHeads`.
        device: Where the model is trained, such as `cpu` or `cuda:0`.
        loss_weight: Weight of the teachers' loss in the objective that selects the best weights.
        geometry_weight: Weight of the relational term in it; see `contracts.GeometryTerm`.
    """

    params: TrainingParams
    seed: int
    precision: str
    teachers: tuple[str, ...]
    folder: Path
    tracker: Tracker = field(default_factory=Tracker)
    progress: Progress = silent
    callback: transformers.TrainerCallback | None = None
    device: str = "cpu"
    loss_weight: float = 1.0
    geometry_weight: float = 0.0


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training run; the model holds the best weights.

    Attributes:
        history: The losses: one entry per step, teacher and split.
        best_step: The step with the lowest held-out objective.
        steps: Number of steps made.
        restarts: The restarts by the divergence guard.
    """

    history: list[dict[str, Any]]
    best_step: int
    steps: int
    restarts: tuple[Restart, ...] = ()


def train(
    model: nn.Module, batches: Batches, rows: tuple[Ints, Ints], plan: TrainingPlan
) -> TrainingResult:
    """Train `model` and load the weights with the lowest held-out objective into it.

    Args:
        model: A `DistillationModel`.
        batches: The collator.
        rows: Row numbers of the training rows and of the held-out rows.
        plan: See `TrainingPlan`. With zero epochs, only the held-out losses are computed.

    Raises:
        DivergedError: Training diverged again after `guard.max_restarts` restarts.
        ParamsError: The CPU cannot train in `float16`.
    """
    if plan.precision == "float16" and plan.device == "cpu":
        raise ParamsError("precision: float16 trains on a GPU only: set it to bfloat16 or float32.")
    averaging.attach(model, plan.params.average_decay)
    first = plan.folder / FIRST
    if rank() == 0:
        _prepare(model, plan.folder)
    newest = _newest(plan.folder)
    restarts = guard.read_restarts(newest) if newest else []
    while True:
        with _accelerate_uses(plan.device):
            trainer = _DistillationTrainer(model, batches, rows, plan, restarts)
        try:
            result = trainer.run(newest)
        except guard.UnhealthyError as trouble:
            if plan.params.epochs == 0:
                raise DivergedError(
                    f"The state that the run starts from is unhealthy: {trouble}."
                ) from trouble
            step = trainer.state.global_step
            newest = _newest(plan.folder)
            restarts.append(Restart(step, step_of(newest) if newest else 0, str(trouble)))
            if len(restarts) > plan.params.guard.max_restarts:
                raise DivergedError(_advice(restarts)) from trouble
            plan.tracker.log_metrics({"guard/restarts": len(restarts)}, step)
            load_model(model, first)  # used if there is no checkpoint yet
        else:
            averaging.settle(model)
            return result


def _newest(folder: Path) -> Path | None:
    """Return the newest checkpoint, which the first process finds for all processes."""
    newest = newest_checkpoint(folder) if rank() == 0 else None
    (step,) = agreed([step_of(newest) if newest else -1])
    return folder / f"checkpoint-{step:.0f}" if step >= 0 else None


def _prepare(model: nn.Module, folder: Path) -> None:
    """Save the first weights, on disk because a copy would use memory all the time."""
    if not folder.is_dir():
        remove(folder)
        folder.mkdir(parents=True)
    remove(folder / FIRST)
    save_model(model, str(folder / FIRST))


def _advice(restarts: Sequence[Restart]) -> str:
    restarted = "; ".join(f"step {one.step}: {one.reason}" for one in restarts)
    return (
        f"Training diverged {len(restarts)} times, each time with half the learning rate ({restarted}): lower "
        "training.learning_rate or training.max_grad_norm, or look at the teachers' embeddings."
    )


class _Arguments(transformers.TrainingArguments):
    """Arguments that use one device per process, the one that accelerate chose; the default is all GPUs at once."""

    @cached_property
    def _setup_devices(self) -> torch.device:
        super()._setup_devices  # noqa: B018 - it creates the distributed state
        self._n_gpu = min(self._n_gpu, 1)
        device: torch.device = self.distributed_state.device
        return device


@contextmanager
def _accelerate_uses(device: str) -> Iterator[None]:
    """Let accelerate choose a device in the block; its only setting for one process is an environment variable."""
    before = os.environ.get(DEVICE_VARIABLE)
    os.environ[DEVICE_VARIABLE] = device
    try:
        yield
    finally:
        del os.environ[DEVICE_VARIABLE]
        if before is not None:
            os.environ[DEVICE_VARIABLE] = before


class _DistillationTrainer(transformers.Trainer):
    """Trainer with this project's sampler, the divergence guard, and evaluation per teacher."""

    model: nn.Module
    train_dataset: Any  # row numbers, which the collator turns into examples
    eval_dataset: Any

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        rows: tuple[Ints, Ints],
        plan: TrainingPlan,
        restarts: Sequence[Restart],
    ) -> None:
        params, n_train = plan.params, len(rows[0])
        n_steps = math.ceil(n_train * params.epochs / params.batch_size)
        every = max(1, math.ceil(n_train / params.batch_size) // params.evals_per_epoch)
        optimizer = make_optimizer(model, params)
        super().__init__(
            model=model,
            args=_Arguments(
                output_dir=str(plan.folder),
                max_steps=n_steps,
                per_device_train_batch_size=params.batch_size,
                eval_strategy="steps",
                eval_steps=every,
                save_steps=every,
                load_best_model_at_end=True,
                logging_strategy="no",
                max_grad_norm=params.max_grad_norm,
                bf16=plan.precision == "bfloat16",
                fp16=plan.precision == "float16",
                seed=plan.seed,
                use_cpu=plan.device == "cpu",
                disable_tqdm=True,
                report_to=[],
                restore_callback_states_from_checkpoint=True,
            ),
            data_collator=batches,
            train_dataset=RowNumbers(rows[0]),
            eval_dataset=RowNumbers(rows[1]),
            optimizers=(optimizer, _schedule(optimizer, params, n_steps, restarts)),
            callbacks=[
                transformers.EarlyStoppingCallback(params.patience),
                guard.LossWatch(params.guard.spike),
                guard.RatesOfTheSchedule(),
                averaging.UpdateAverage(),
                CompleteCheckpoints(restarts),
            ],
        )
        self.remove_callback(transformers.PrinterCallback)
        if plan.callback is not None:
            self.add_callback(plan.callback)
        self._plan, self._restarts = plan, tuple(restarts)
        self._trained = self._no_losses()
        self._source: Iterator[Any] | None = None
        self._batches = prefetched(iter(()))

    def run(self, newest: Path | None) -> TrainingResult:
        """Train from the newest checkpoint or from the start, or only evaluate if the plan has no epochs."""
        best_step, splits = 0, ["held_out"]
        if self._plan.params.epochs == 0:
            self.evaluate()
        else:
            splits = ["train", "held_out"]
            try:
                with without_warnings():  # of images that a thread reads
                    self.train(resume_from_checkpoint=str(newest) if newest else None)
            finally:
                self._batches.close()
            best_step = step_of(Path(str(self.state.best_model_checkpoint)))
        history = [
            {
                "step": entry["step"],
                "teacher": teacher,
                "split": split.replace("_", "-"),
                "nats": entry[f"{split}/{teacher}"],
            }
            for entry in self.state.log_history
            for split in splits
            for teacher in self._plan.teachers
            if f"{split}/{teacher}" in entry
        ]
        return TrainingResult(history, best_step, self.state.global_step, self._restarts)

    @property
    def _watch(self) -> guard.LossWatch:
        """The guard's loss watch. Not stored, because Trainer replaces it when it resumes from a checkpoint."""
        return next(c for c in self.callback_handler.callbacks if isinstance(c, guard.LossWatch))

    def _no_losses(self) -> Tensor:
        return torch.zeros(2, len(self._plan.teachers), dtype=torch.float64)

    def get_train_dataloader(self) -> DataLoader[int]:
        rows, params = self.train_dataset, self._plan.params
        collate = cast("Batches", self.data_collator).perturbed
        order = EpochsSampler(len(rows), params.epochs, self._plan.seed)
        if count() == 1:
            return DataLoader(rows, params.batch_size, sampler=order, collate_fn=collate)
        shares = Shares(order, params.batch_size, (rank(), count()))
        return DataLoader(rows, batch_sampler=shares, collate_fn=collate)

    def get_batch_samples(self, epoch_iterator: Iterator[Any], *rest: Any) -> Any:
        """Return the next batches, which a thread made while the model ran."""
        if epoch_iterator is not self._source:
            self._batches.close()
            self._source, self._batches = epoch_iterator, prefetched(epoch_iterator)
        return super().get_batch_samples(self._batches, *rest)

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:
        outputs = model(**inputs)
        loss: Tensor = outputs["loss"]
        n_rows = len(outputs["embedded"]) * count()
        self._watch.check(
            float(from_first(loss.detach().clone())), n_rows / self._plan.params.batch_size
        )
        self._trained += _losses(outputs)
        return loss

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        """Scale the gradients if their norm is too large, and return the norm.

        On a CPU, gradients of a smaller norm are not multiplied by one, which would take as long as computing the norm.
        """
        limit = self.args.max_grad_norm
        if self._plan.device != "cpu":
            total: Tensor = self.accelerator.clip_grad_norm_(model.parameters(), limit)
            return total
        parameters = list(model.parameters())
        norm = nn.utils.get_total_norm([one.grad for one in parameters if one.grad is not None])
        if not norm + MARGIN < limit:  # NaN too
            nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return norm

    @torch.no_grad()
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Compute each teacher's held-out loss, log it with the training loss, and report it to the tracker."""
        self.model.eval()
        metrics, teachers = dict[str, float](), self._plan.teachers
        with averaging.applied(self.model):
            held_out, geometry = self._held_out()
        for split, (sums, counts) in (("held_out", held_out), ("train", self._trained)):
            means = zip(teachers, (sums / counts).tolist(), counts.tolist(), strict=True)
            metrics |= {f"{split}/{name}": mean for name, mean, count in means if count}
        known = [metrics[f"held_out/{n}"] for n in teachers if f"held_out/{n}" in metrics]
        mean = sum(known) / len(known)  # without the teachers that have no held-out rows
        loss = self._plan.loss_weight * mean + self._plan.geometry_weight * geometry
        metrics |= {"held_out/mean": mean, "held_out/geometry": geometry, "eval_loss": loss}
        metrics = dict(zip(metrics, agreed(list(metrics.values())), strict=True))
        loss = metrics["eval_loss"]
        if not all(map(math.isfinite, metrics.values())):
            raise guard.UnhealthyError("the held-out loss is not finite")
        self._trained = self._no_losses()
        self.log(dict(metrics))
        step, best = self.state.global_step, min(loss, self.state.best_metric or math.inf)
        self._plan.progress("steps", step, self.state.max_steps, held_out=loss, best=best)
        named = {
            ("held_out/objective" if key == "eval_loss" else key): value
            for key, value in metrics.items()
        }
        self._plan.tracker.log_metrics(named, step)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _held_out(self) -> tuple[Tensor, float]:
        """Return the teachers' held-out losses as `_losses` does, and the mean of the relational term."""
        held_out, geometry, n_batches = self._no_losses(), 0.0, 0
        for batch in DataLoader(self.eval_dataset, HELD_OUT_BATCH, collate_fn=self.data_collator):
            outputs = self.model(**self._prepare_inputs(batch))
            if n_batches == 0:
                guard.check_embeddings(outputs["embedded"], self._plan.params.guard)
            held_out += _losses(outputs)
            geometry, n_batches = geometry + float(outputs["geometry"]), n_batches + 1
        return held_out, geometry / max(n_batches, 1)


def _losses(outputs: dict[str, Any]) -> Tensor:
    """Return the sums of the teachers' losses and the numbers of their rows, `(2, n_teachers)`."""
    return torch.stack([outputs[name].cpu().double() for name in ("sums", "counts")])


def make_optimizer(model: nn.Module, params: TrainingParams) -> AdamW:
    """Return AdamW with separate learning rates for the student and for the heads and weighting."""
    student, heads, weighting = (
        [*model.get_submodule(part).parameters()] for part in ("student", "heads", "weighting")
    )
    groups = [
        {"params": student, "lr": params.learning_rate},
        {"params": heads + weighting, "lr": params.head_learning_rate},
    ]
    # fused is eight times faster on a CPU
    return AdamW(groups, weight_decay=params.weight_decay, fused=True)


def _schedule(
    optimizer: AdamW, params: TrainingParams, n_steps: int, restarts: Sequence[Restart] = ()
) -> LambdaLR:
    """Return a schedule with linear warm-up and cosine decay.

    The heads and the weighting are trained from the first step. The student is trained from `params.student_start`,
    and its warm-up begins there.
    """

    def from_step(first: int) -> Callable[[int], float]:
        steps = max(n_steps - first, 1)
        warm = max(1, round(params.warmup_share * steps))

        def factor(step: int) -> float:
            at = step - first
            halved = guard.rate_factor(restarts, step)
            if at < 0:
                return 0.0
            if at < warm:
                return halved * (at + 1) / warm
            done = min(1.0, (at - warm) / max(steps - warm, 1))
            return halved * 0.5 * (1 + math.cos(math.pi * done))

        return factor

    return LambdaLR(optimizer, [from_step(params.student_start(n_steps)), from_step(0)])
