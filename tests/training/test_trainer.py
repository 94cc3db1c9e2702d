from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from polydistill.config.training import GuardParams
from polydistill.contracts import Tracker
from polydistill.errors import DivergedError
from polydistill.training.guard import LossWatch, Restart, UnhealthyError, check_embeddings
from polydistill.training.trainer import _DistillationTrainer, _schedule, make_optimizer
from tests.training.tiny_run import AVERAGE, DIMS, PARAMS, PLAIN, VARIANTS, make_model, run, weights

STEPS_AN_EPOCH = 4


def test_two_runs_give_the_same_weights_and_history(tmp_path: Path) -> None:
    first, model = run(tmp_path / "first")
    torch.manual_seed(99)
    second, again = run(tmp_path / "second")

    assert weights(model) == weights(again)
    assert first.history == second.history


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    _, model = run(tmp_path / "first")
    _, other = run(tmp_path / "second", seed=1)

    assert weights(model) != weights(other)


def test_the_held_out_loss_falls(tmp_path: Path) -> None:
    result, _ = run(tmp_path)

    held_out = [row["nats"] for row in result.history if row["split"] == "held-out"]
    assert sum(held_out[-2:]) < sum(held_out[:2]) - 0.05


def test_history_has_every_teacher_and_split_at_every_evaluation(tmp_path: Path) -> None:
    result, _ = run(tmp_path)

    every = STEPS_AN_EPOCH // PARAMS.evals_per_epoch
    steps = [*range(every, STEPS_AN_EPOCH * PARAMS.epochs + 1, every)]
    rows = {(row["step"], row["teacher"], row["split"]) for row in result.history}
    assert rows == {
        (step, teacher, split)
        for step in steps
        for teacher in DIMS
        for split in ("train", "held-out")
    }


class _Kept(Tracker):
    """Keeps the metrics by step."""

    def __init__(self) -> None:
        self.metrics: dict[int, Mapping[str, float]] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.metrics[step] = metrics


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (1.0, 100.0)])
def test_the_best_step_has_the_lowest_weighted_sum_of_losses(
    tmp_path: Path, weights: tuple[float, float]
) -> None:
    params = PARAMS.model_copy(update={"head_learning_rate": 5.0, "warmup_share": 1.0})
    kept, (loss, geometry) = _Kept(), weights
    result, _ = run(tmp_path, params, tracker=kept, loss_weight=loss, geometry_weight=geometry)

    objective = {
        step: loss * one["held_out/mean"] + geometry * one["held_out/geometry"]
        for step, one in kept.metrics.items()
    }
    assert result.best_step == min(objective, key=lambda step: objective[step])
    for step, one in kept.metrics.items():
        assert one["held_out/objective"] == pytest.approx(objective[step])
    by_loss = min(kept.metrics, key=lambda step: kept.metrics[step]["held_out/mean"])
    assert (result.best_step == by_loss) == (geometry == 0)


def test_the_best_weights_are_restored_bit_for_bit(tmp_path: Path) -> None:
    # A learning rate this high makes the held-out loss rise again, so that the best is not the last.
    params = PARAMS.model_copy(update={"head_learning_rate": 5.0, "warmup_share": 1.0})
    result, model = run(tmp_path, params)

    means: dict[int, float] = {}
    for row in result.history:
        if row["split"] == "held-out":
            means[row["step"]] = means.get(row["step"], 0.0) + row["nats"]
    stored = load_file(tmp_path / f"checkpoint-{result.best_step}" / "model.safetensors")
    assert result.best_step == min(means, key=lambda step: means[step])
    assert result.best_step < result.steps
    for name, value in model.state_dict().items():
        assert torch.equal(value, stored[name])


def test_training_stops_early_when_the_held_out_loss_does_not_fall(tmp_path: Path) -> None:
    params = PARAMS.model_copy(
        update={"learning_rate": 5.0, "warmup_share": 0.9, "patience": 1, "epochs": 20}
    )

    result, _ = run(tmp_path, params)

    assert result.steps < 20 * STEPS_AN_EPOCH


@pytest.mark.parametrize(
    ("step", "variant"),
    [(2, PLAIN), (7, "ema-norm"), (7, AVERAGE)]
    + [pytest.param(7, one, marks=pytest.mark.slow) for one in VARIANTS if one != "ema-norm"],
)
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, step: int, variant: str) -> None:
    undisturbed, model = run(tmp_path / "undisturbed", variant=variant)
    folder = tmp_path / "killed"
    killed = subprocess.run(
        [sys.executable, "-m", "tests.training.tiny_run", str(folder), str(step), variant],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
    )
    left = list((tmp_path / "killed").glob("checkpoint-*"))

    resumed, again = run(tmp_path / "killed", variant=variant)

    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert bool(left) == (step > 2)
    assert weights(again) == weights(model)
    assert resumed.history == undisturbed.history
    assert resumed.best_step == undisturbed.best_step


def test_no_checkpoint_needs_unpickling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = run(tmp_path, PARAMS.model_copy(update={"epochs": 2}))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    again, _ = run(tmp_path, PARAMS.model_copy(update={"epochs": 2}))

    assert again.history == result.history


def test_a_loss_that_is_not_finite_stops_the_run_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _, batches = make_model()
    targets = batches._targets["one"]
    assert isinstance(targets, torch.Tensor)
    targets[5] = float("nan")
    batches._present["one"][:] = True
    monkeypatch.setattr("tests.training.tiny_run.make_model", lambda **_: (model, None, batches))

    with pytest.raises(
        DivergedError,
        match=r"diverged 4 times.*step 0: the loss is nan.*lower training.learning_rate",
    ):
        run(tmp_path, PARAMS.model_copy(update={"batch_size": 128}))


def trouble_at(monkeypatch: pytest.MonkeyPatch, evaluations: set[int]) -> list[int]:
    """Make the guard find a collapse at these evaluations, counted from 1; return a list of all evaluations."""
    calls: list[int] = []

    def check(embedded: torch.Tensor, limits: GuardParams) -> None:
        calls.append(len(embedded))
        if len(calls) in evaluations:
            raise UnhealthyError("the embeddings collapsed")
        check_embeddings(embedded, limits)

    monkeypatch.setattr("polydistill.training.guard.check_embeddings", check)
    return calls


@pytest.mark.parametrize(("evaluation", "resumed_from"), [(1, 0), (3, 4)])
def test_the_guard_goes_back_to_the_last_good_state_with_half_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluation: int, resumed_from: int
) -> None:
    undisturbed, model = run(tmp_path / "undisturbed")
    calls = trouble_at(monkeypatch, {evaluation})

    result, other = run(tmp_path / "disturbed")

    step = 2 * evaluation
    assert result.restarts == (Restart(step, resumed_from, "the embeddings collapsed"),)
    assert len(calls) == 2 * PARAMS.epochs + 1
    assert result.steps == undisturbed.steps
    before = [row for row in undisturbed.history if row["step"] <= resumed_from]
    assert [row for row in result.history if row["step"] <= resumed_from] == before
    assert weights(other) != weights(model)


def test_from_the_step_that_the_guard_goes_back_to_every_rate_is_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[tuple[int, list[float]]] = []
    step = _DistillationTrainer.compute_loss

    def told(trainer: Any, *arguments: Any, **named: Any) -> Any:
        groups = trainer.optimizer.param_groups
        rates.append((trainer.state.global_step, [group["lr"] for group in groups]))
        return step(trainer, *arguments, **named)

    monkeypatch.setattr(_DistillationTrainer, "compute_loss", told)
    run(tmp_path / "undisturbed")
    undisturbed = dict(rates)
    rates.clear()
    trouble_at(monkeypatch, {3})

    run(tmp_path / "disturbed")

    assert rates[:6] == list(undisturbed.items())[:6]
    assert [at for at, _ in rates[6:]] == list(undisturbed)[4:]
    for at, found in rates[6:]:
        assert found == pytest.approx([rate / 2 for rate in undisturbed[at]])


@pytest.mark.parametrize(
    ("spike", "jump", "restarts"), [(20.0, 99.0, 1), (0.1, 0.9, 1), (20.0, 0.9, 0)]
)
def test_a_jump_right_after_a_checkpoint_is_noticed_if_it_is_more_than_the_guards_spike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spike: float, jump: float, restarts: int
) -> None:
    check, losses = LossWatch.check, list[float]()

    def jumping(watch: LossWatch, loss: float, share: float = 1.0) -> None:
        losses.append(loss)
        check(watch, loss + (jump if len(losses) == 21 else 0.0), share)

    monkeypatch.setattr(LossWatch, "check", jumping)
    guard = PARAMS.guard.model_copy(update={"spike": spike})

    result, _ = run(tmp_path, PARAMS.model_copy(update={"epochs": 6, "guard": guard}))

    told = [(one.step, one.resumed_from, "jumped" in one.reason) for one in result.restarts]
    assert told == [(20, 20, True)] * restarts  # evaluated every second step


def test_a_run_that_is_killed_after_a_restart_keeps_its_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble_at(monkeypatch, {3})
    whole, model = run(tmp_path / "whole")

    class PowerCutError(Exception):
        pass

    def cut(what: str, done: int, total: int, **figures: float) -> None:
        if done == 10:
            raise PowerCutError

    trouble_at(monkeypatch, {3})
    with pytest.raises(PowerCutError):
        run(tmp_path / "cut", progress=cut)
    resumed, again = run(tmp_path / "cut")

    assert resumed.restarts == whole.restarts
    assert weights(again) == weights(model)


def test_a_run_that_never_recovers_has_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble_at(monkeypatch, set(range(2, 99)))
    guard = PARAMS.guard.model_copy(update={"max_restarts": 1})

    with pytest.raises(DivergedError, match=r"diverged 2 times.*step 4: the embeddings collapsed"):
        run(tmp_path, PARAMS.model_copy(update={"guard": guard}))


def test_bfloat16_changes_the_sums_and_still_learns(tmp_path: Path) -> None:
    full, model = run(tmp_path / "full")
    half, other = run(tmp_path / "half", precision="bfloat16")

    last = [row["nats"] for row in half.history if row["split"] == "held-out"][-2:]
    exact = [row["nats"] for row in full.history if row["split"] == "held-out"][-2:]
    assert weights(model) != weights(other)
    assert abs(sum(last) - sum(exact)) < 0.2


def test_the_student_waits_until_the_heads_are_warm() -> None:
    model, _, _ = make_model()
    optimizer = make_optimizer(model, PARAMS)
    schedule = _schedule(optimizer, PARAMS.model_copy(update={"head_warmup_steps": 5}), 40)
    rates = []
    for _ in range(40):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()

    students = [student for student, _ in rates]
    assert students[:5] == [0.0] * 5
    assert max(students) == pytest.approx(PARAMS.learning_rate)
    assert max(head for _, head in rates) == pytest.approx(PARAMS.head_learning_rate)
    assert students.index(max(students)) < 12
    assert students[-1] < 0.01 * PARAMS.learning_rate


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.03},
        {"head_learning_rate": 0.03},
        {"warmup_share": 0.6},
        {"head_warmup_steps": 6},
        {"weight_decay": 0.5},
        {"max_grad_norm": 0.05},
        {"batch_size": 16},
        {"epochs": 2},
        {"average_decay": 0.9},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_option_has_its_effect(tmp_path: Path, change: dict[str, float]) -> None:
    _, model = run(tmp_path / "default")
    _, changed = run(tmp_path / "changed", PARAMS.model_copy(update=change))

    assert weights(model) != weights(changed)


@pytest.mark.parametrize("limit", [1e-3, 0.05, 1.0, 100.0])
def test_gradients_are_clipped_as_transformers_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    params = PARAMS.model_copy(update={"max_grad_norm": limit})
    _, ours = run(tmp_path / "ours", params=params)
    monkeypatch.delattr(_DistillationTrainer, "_clip_grad_norm")

    _, theirs = run(tmp_path / "theirs", params=params)

    assert weights(ours) == weights(theirs)
