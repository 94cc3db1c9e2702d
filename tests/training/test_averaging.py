from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from polydistill.training import averaging
from tests.training.tiny_run import AVERAGE, PARAMS, run, weights


class _Model(nn.Module):
    """A model with a weight, a batch norm and heads."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
        self.heads = nn.Linear(1, 1)

    def fill(self, value: float) -> None:
        for tensor in (*self.parameters(), *self.buffers()):
            with torch.no_grad():
                tensor.fill_(value)


def after(values: list[float], decay: float) -> _Model:
    """Return a model that had these weights after its steps, with its average."""
    model = _Model()
    model.fill(values[0])
    averaging.attach(model, decay)
    for value in values:
        for part in (model.student, model.heads):
            for tensor in (*part.parameters(), *part.buffers()):
                with torch.no_grad():
                    tensor.fill_(value)
        averaging.UpdateAverage().on_step_end(model=model)
    return model


def test_the_average_is_exponential_and_forgets_the_first_weights() -> None:
    values = [1.0, 5.0, -3.0, 2.0, 7.0]
    expected = values[0]
    for step, value in enumerate(values[1:], 1):
        kept = min(0.3, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * value

    model = after(values, decay=0.3)
    averaging.settle(model)

    found = {name: tensor.item() for name, tensor in model.state_dict().items()}
    assert found.pop("student.1.num_batches_tracked") == 7
    assert found.keys() >= {"student.0.weight", "student.1.running_mean", "heads.bias"}
    assert all(value == pytest.approx(expected) for value in found.values())
    assert not hasattr(model, averaging.NAME)


def test_the_weights_are_back_after_the_block_even_if_it_fails() -> None:
    model = after([1.0, 5.0], decay=0.5)

    inside = []

    def fail() -> None:
        with averaging.applied(model):
            inside.append(model.heads.weight.item())
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()

    assert 1.0 < inside[0] < 5.0
    assert model.heads.weight.item() == 5.0


def test_the_kept_weights_are_the_average_of_the_best_checkpoint(tmp_path: Path) -> None:
    result, model = run(tmp_path, variant=AVERAGE)

    stored = load_file(tmp_path / f"checkpoint-{result.best_step}" / "model.safetensors")
    own = {n: v for n, v in model.state_dict().items() if n.startswith(("student.", "heads."))}
    assert own
    assert not hasattr(model, averaging.NAME)
    for name, value in own.items():
        assert torch.equal(value, stored[f"average.module.{name}"])
    assert any(not torch.equal(value, stored[name]) for name, value in own.items())


def test_the_average_changes_what_is_evaluated_and_not_the_training(tmp_path: Path) -> None:
    plain, _ = run(tmp_path / "plain")
    averaged, _ = run(tmp_path / "averaged", variant=AVERAGE)

    losses = {
        name: [row["nats"] for row in result.history if row["split"] == split]
        for name, result, split in (
            ("plain", plain, "train"),
            ("averaged", averaged, "train"),
            ("plain held out", plain, "held-out"),
            ("averaged held out", averaged, "held-out"),
        )
    }
    assert losses["plain"] == losses["averaged"]
    assert losses["plain held out"] != losses["averaged held out"]


def test_two_runs_with_an_average_give_the_same_weights(tmp_path: Path) -> None:
    _, first = run(tmp_path / "first", variant=AVERAGE)
    _, second = run(tmp_path / "second", variant=AVERAGE)

    assert weights(first) == weights(second)


def test_the_state_of_the_average_is_in_the_first_weights_too(tmp_path: Path) -> None:
    run(tmp_path, PARAMS, variant=AVERAGE)

    first = load_file(tmp_path / "first.safetensors")
    state = json.loads(
        (tmp_path / f"checkpoint-{PARAMS.epochs * 4}" / "trainer_state.json").read_text()
    )
    assert first["average.n_averaged"].item() == 0
    stored = load_file(Path(state["best_model_checkpoint"]) / "model.safetensors")
    assert stored["average.n_averaged"].item() > 0
