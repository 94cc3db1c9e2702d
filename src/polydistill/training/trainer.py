"""The training loop: transformers' Trainer with this project's batches, steps and evaluation."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainingArguments,
)

from polydistill.config.training import TrainingParams
from polydistill.contracts import Progress
from polydistill.errors import DivergedError
from polydistill.training.dataset import Batches, EpochsSampler, Ints, Rows
from polydistill.training.guard import (
    LossWatch,
    RatesOfTheSchedule,
    Restart,
    UnhealthyError,
    check_embeddings,
    rate_factor,
    read_restarts,
    write_restarts,
)
from polydistill.training.tracking import Tracker
from polydistill.training.warm_start import HoldHeads, LearningRows

HELD_OUT_BATCH = 512
FIRST = "first.safetensors"


@dataclass(frozen=True)
class TrainingPlan:
    """Settings of a training run, without its model and data.

    Attributes:
        params: The training parameters.
        seed: Seed of the orders and of everything that Trainer seeds.
        precision: `float32` or `bfloat16`.
        teachers: The teachers' names, in the model's order.
        folder: Folder of checkpoints; a run resumes from the last one in it.
        learning: For a warm start, the rows of the heads' parameters that are trained. None: all rows.
        by_geometry: Whether the best weights are selected by the held-out geometry term, not the teachers' loss.
    """

    params: TrainingParams
    seed: int
    precision: str
    teachers: tuple[str, ...]
    folder: Path
    learning: LearningRows | None = None
    by_geometry: bool = False


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training run; the model holds the best weights.

    Attributes:
        history: The losses: one entry per step, teacher and split.
        best_step: The step with the lowest held-out loss.
        steps: Number of steps made.
        restarts: The restarts by the divergence guard.
    """

    history: list[dict[str, Any]]
    best_step: int
    steps: int
    restarts: tuple[Restart, ...] = ()


def train(
    model: nn.Module,
    batches: Batches,
    rows: tuple[Ints, Ints],
    plan: TrainingPlan,
    *,
    tracker: Tracker,
    progress: Progress,
) -> TrainingResult:
    """Train `model` and load the weights with the lowest held-out loss into it.

    Args:
        model: A `DistillationModel`.
        batches: The collator.
        rows: Row numbers of the training rows and of the held-out rows.
        plan: See `TrainingPlan`.
        tracker: Called after each evaluation.
        progress: Called after each evaluation.

    Raises:
        DivergedError: Training diverged again after `guard.max_restarts` restarts.
    """
    if plan.params.epochs == 0:
        return _measure(model, batches, rows[1], plan, tracker=tracker, progress=progress)
    restarts = read_restarts(plan.folder)
    first = plan.folder / FIRST
    first.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, str(first))  # on disk, because a copy in memory would stay for the whole run
    held = None
    if plan.learning is not None:
        held = HoldHeads(model, plan.learning, plan.params)
    while True:
        trainer = _make_trainer(model, batches, rows, plan, restarts)
        trainer.begin(plan, tracker, progress)
        if held is not None:
            trainer.add_callback(held)
        try:
            trainer.train(resume_from_checkpoint=_last_checkpoint(plan.folder))
        except UnhealthyError as trouble:
            newest = _last_checkpoint(plan.folder)
            resumed_from = 0 if newest is None else _step_of(Path(newest))
            restarts.append(Restart(trainer.state.global_step, resumed_from, str(trouble)))
            if len(restarts) > plan.params.guard.max_restarts:
                raise DivergedError(_advice(restarts)) from trouble
            write_restarts(plan.folder, restarts)
            tracker.log_metrics({"guard/restarts": len(restarts)}, trainer.state.global_step)
            load_model(model, first)  # there is no checkpoint yet
            continue
        state = trainer.state
        best = _step_of(Path(str(state.best_model_checkpoint)))
        history = _history(state.log_history, plan.teachers)
        return TrainingResult(history, best, state.global_step, tuple(restarts))


def _measure(
    model: nn.Module,
    batches: Batches,
    held_out: Ints,
    plan: TrainingPlan,
    *,
    tracker: Tracker,
    progress: Progress,
) -> TrainingResult:
    """Return the held-out loss without training."""
    trainer = _make_trainer(model, batches, (held_out, held_out), plan, ())
    trainer.begin(plan, tracker, progress)
    try:
        trainer.evaluate()
    except UnhealthyError as trouble:
        raise DivergedError(
            f"The state that the run starts from is unhealthy: {trouble}."
        ) from trouble
    history = _history(trainer.state.log_history, plan.teachers)
    return TrainingResult([row for row in history if row["split"] == "held-out"], 0, 0)


def _make_trainer(
    model: nn.Module,
    batches: Batches,
    rows: tuple[Ints, Ints],
    plan: TrainingPlan,
    restarts: Sequence[Restart],
) -> _DistillationTrainer:
    trained, held_out = rows
    params = plan.params
    n_steps = math.ceil(len(trained) * params.epochs / params.batch_size)
    every = max(1, math.ceil(len(trained) / params.batch_size) // params.evals_per_epoch)
    arguments = TrainingArguments(
        output_dir=str(plan.folder),
        max_steps=n_steps,
        per_device_train_batch_size=params.batch_size,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        greater_is_better=False,
        logging_strategy="no",
        max_grad_norm=params.max_grad_norm,
        bf16=plan.precision == "bfloat16",
        seed=plan.seed,
        use_cpu=True,
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        restore_callback_states_from_checkpoint=True,
    )
    optimizer = make_optimizer(model, params)
    trainer = _DistillationTrainer(
        model=model,
        args=arguments,
        data_collator=batches,
        train_dataset=Rows(trained),
        eval_dataset=Rows(held_out),
        optimizers=(optimizer, _schedule(optimizer, params, n_steps, restarts)),
        callbacks=[
            EarlyStoppingCallback(params.patience),
            LossWatch(params.guard.spike),
            RatesOfTheSchedule(),
        ],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


def _advice(restarts: Sequence[Restart]) -> str:
    restarted = "; ".join(f"step {one.step}: {one.reason}" for one in restarts)
    return (
        f"Training diverged {len(restarts)} times, each time with half the learning rate ({restarted}): lower "
        "training.learning_rate or training.max_grad_norm, or look at the teachers' embeddings."
    )


class _DistillationTrainer(Trainer):
    """Trainer with this project's sampler, the divergence guard, and evaluation per teacher."""

    model: nn.Module
    train_dataset: Rows
    eval_dataset: Rows

    def begin(self, plan: TrainingPlan, tracker: Tracker, progress: Progress) -> None:
        self._plan, self._tracker, self._told = plan, tracker, progress
        self._reset()

    def _reset(self) -> None:
        zeros = torch.zeros(len(self._plan.teachers), dtype=torch.float64)
        self._sums, self._counts = zeros.clone(), zeros.clone()

    @property
    def _watch(self) -> LossWatch:
        """The guard's loss watch; resuming from a checkpoint replaces it."""
        return next(c for c in self.callback_handler.callbacks if isinstance(c, LossWatch))

    def get_train_dataloader(self) -> DataLoader[int]:
        rows = self.train_dataset
        sampler = EpochsSampler(len(rows), self._plan.params.epochs, self._plan.seed)
        return DataLoader(
            rows, self._plan.params.batch_size, sampler=sampler, collate_fn=self.data_collator
        )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: FBT001, FBT002
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Any:
        outputs = model(**inputs)
        loss = outputs["loss"]
        n_rows, whole = len(outputs["embedded"]), self._plan.params.batch_size
        self._watch.check(float(loss.detach()), n_rows / whole)
        self._sums += outputs["sums"].double()
        self._counts += outputs["counts"].double()
        return (loss, outputs) if return_outputs else loss

    @torch.no_grad()
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Compute each teacher's held-out loss, log it with the training loss, and report it."""
        self.model.eval()
        sums = torch.zeros_like(self._sums)
        counts = torch.zeros_like(self._counts)
        geometry, n_batches = 0.0, 0
        loader = DataLoader(self.eval_dataset, HELD_OUT_BATCH, collate_fn=self.data_collator)
        for batch in loader:
            outputs = self.model(**batch)
            if n_batches == 0:
                check_embeddings(outputs["embedded"], self._plan.params.guard)
            sums += outputs["sums"].double()
            counts += outputs["counts"].double()
            geometry, n_batches = geometry + float(outputs["geometry"]), n_batches + 1
        held_out = (sums / counts.clamp(min=1)).tolist()
        trained = (self._sums / self._counts.clamp(min=1)).tolist()
        metrics = {
            f"held_out/{name}": v for name, v in zip(self._plan.teachers, held_out, strict=True)
        }
        metrics |= {
            f"train/{name}": v for name, v in zip(self._plan.teachers, trained, strict=True)
        }
        geometry /= max(n_batches, 1)
        mean = sum(held_out) / len(held_out)
        metrics |= {
            "eval_loss": geometry if self._plan.by_geometry else mean,
            "geometry": geometry,
        }
        if not all(map(math.isfinite, metrics.values())):
            raise UnhealthyError("the held-out loss is not finite")
        self._reset()
        self.log(dict(metrics))
        self._tell(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _tell(self, metrics: dict[str, float]) -> None:
        best = min(metrics["eval_loss"], self.state.best_metric or math.inf)
        step = self.state.global_step
        self._told("steps", step, self.state.max_steps, held_out=metrics["eval_loss"], best=best)
        named = {("held_out/mean" if key == "eval_loss" else key): v for key, v in metrics.items()}
        self._tracker.log_metrics(named, step)


def _last_checkpoint(folder: Path) -> str | None:
    """Return the newest complete checkpoint and remove newer incomplete ones.

    Trainer writes `trainer_state.json` last, so a checkpoint without it is incomplete.
    """
    for path in sorted(folder.glob("checkpoint-*"), key=_step_of, reverse=True):
        try:
            if "global_step" in json.loads((path / "trainer_state.json").read_text("utf-8")):
                return str(path)
        except (FileNotFoundError, ValueError):
            shutil.rmtree(path)
    return None


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[-1])


def make_optimizer(model: nn.Module, params: TrainingParams) -> AdamW:
    """Return AdamW with separate learning rates for the student and for the heads and weighting."""
    beside = [
        *model.get_submodule("heads").parameters(),
        *model.get_submodule("weighting").parameters(),
    ]
    groups = [
        {"params": [*model.get_submodule("student").parameters()], "lr": params.learning_rate},
        {"params": beside, "lr": params.head_learning_rate},
    ]
    return AdamW(
        groups, weight_decay=params.weight_decay, fused=True
    )  # fused is eight times faster on a CPU


def _schedule(
    optimizer: AdamW, params: TrainingParams, n_steps: int, restarts: Sequence[Restart] = ()
) -> LambdaLR:
    """Return a schedule with linear warm-up and cosine decay; the student starts after the heads' warm-up."""

    def from_step(first: int) -> Callable[[int], float]:
        steps = max(n_steps - first, 1)
        warm = max(1, round(params.warmup_share * steps))

        def factor(step: int) -> float:
            at = step - first
            halved = rate_factor(restarts, step)
            if at < 0:
                return 0.0
            if at < warm:
                return halved * (at + 1) / warm
            done = min(1.0, (at - warm) / max(steps - warm, 1))
            return halved * 0.5 * (1 + math.cos(math.pi * done))

        return factor

    return LambdaLR(optimizer, [from_step(params.student_start(n_steps)), from_step(0)])


def _history(log: Sequence[dict[str, Any]], teachers: Sequence[str]) -> list[dict[str, Any]]:
    splits = {"train": "train", "held_out": "held-out"}
    return [
        {
            "step": entry["step"],
            "teacher": teacher,
            "split": split,
            "nats": entry[f"{key}/{teacher}"],
        }
        for entry in log
        for key, split in splits.items()
        for teacher in teachers
        if f"{key}/{teacher}" in entry
    ]
