"""The values that the training loop checks and reports, recomputed without the loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from polydistill.training.dataset import Batches
from polydistill.training.trainer import TrainingPlan, train
from tests.training.tiny_run import DIMS, N_EXAMPLES, PARAMS, make_model, run

CUT = N_EXAMPLES * 4 // 5


def test_the_held_out_loss_is_that_of_the_held_out_rows_and_of_no_others(tmp_path: Path) -> None:
    result, model = run(tmp_path)
    batch = make_model()[2](range(CUT, N_EXAMPLES))

    with torch.no_grad():
        predictions = model.eval().heads(model._embed(batch["features"]))
    told = {row["teacher"]: row["nats"] for row in result.history
            if row["split"] == "held-out" and row["step"] == result.best_step}  # fmt: skip

    for name in DIMS:
        one, kept = predictions[name], batch["masks"][name]
        normal = Normal(one.mean[kept, 0], one.log_scale[kept, 0].exp())
        expected = -normal.log_prob(batch["targets"][name][kept]).mean().item()
        assert told[name] == pytest.approx(expected, rel=1e-4)
        assert abs(told[name]) > 0.01


def test_the_loop_trains_on_every_row_once_an_epoch_the_last_few_too(tmp_path: Path) -> None:
    model, _, batches = make_model()
    seen: list[list[int]] = []

    class Watched(Batches):
        def __call__(self, rows: Sequence[int]) -> dict[str, Any]:
            return batches(rows)

        def perturbed(self, rows: Sequence[int]) -> dict[str, Any]:
            seen.append(list(rows))
            return batches(rows)

    watched = Watched.__new__(Watched)
    rows, params = np.arange(N_EXAMPLES), PARAMS.model_copy(update={"batch_size": 30, "epochs": 3})
    plan = TrainingPlan(params, 0, "float32", tuple(DIMS), tmp_path)

    train(model, watched, (rows[:CUT], rows[CUT:]), plan)

    order = [row for batch in seen for row in batch]
    assert len(order) == 3 * CUT
    for epoch in range(3):
        assert sorted(order[epoch * CUT : (epoch + 1) * CUT]) == list(range(CUT))
