from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from polydistill.config.nodes import Plugin
from polydistill.errors import ParamsError
from polydistill.heads.batch_norm_mlp import BatchNormMlpHeads
from polydistill.losses.cosine import cosine
from polydistill.project.layout import Layout
from polydistill.stages.distill import distill
from polydistill.students import encode, load_student
from polydistill.training.calibration import predicted_moments
from polydistill.training.heads_bundle import HeadsBundle, HeadsCard, load_heads, save_heads
from polydistill.training.standardise import Standardiser
from tests.distill_project import TEACHERS, make_distill_project, outputs, small_params

DIMS = {"one": 6, "two": 3}
OPTIONS = {"name": "batch-norm-mlp", "hidden": 16}


def heads(seed: int = 0, **options: object) -> BatchNormMlpHeads:
    draw = torch.Generator().manual_seed(seed)
    return BatchNormMlpHeads(4, DIMS, draw, **{"hidden": 8, **options})  # type: ignore[arg-type]


def students(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))


def test_the_mean_equals_that_of_a_sequence_of_torch_layers() -> None:
    module = heads()
    weights = module.perceptrons[1].state_dict()
    plain = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(),
        nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(),
        nn.Linear(8, 3),
    )  # fmt: skip
    places = {"layers.0": "0", "norms.0": "1", "layers.1": "3", "norms.1": "4", "mean": "6"}
    plain.load_state_dict(
        {
            f"{places[stem]}.{leaf}": value
            for key, value in weights.items()
            for stem, leaf in [key.rsplit(".", 1)]
            if stem in places
        }
    )

    for seed in range(3):  # in training mode, both update the running statistics
        rows = students(5, seed)
        torch.testing.assert_close(module(rows)["two"].mean[:, 0], plain(rows))
    module.eval(), plain.eval()

    torch.testing.assert_close(module(students(2))["two"].mean[:, 0], plain(students(2)))


def test_with_cosine_the_objective_is_half_of_simregs() -> None:
    prediction, target = heads()(students(5))["one"], torch.randn(5, 6)
    unit = nn.functional.normalize

    simreg = (unit(prediction.mean[:, 0], dim=-1) - unit(target, dim=-1)).square().sum(dim=-1)

    ours = cosine(prediction, target, torch.ones(5, dtype=torch.bool))
    torch.testing.assert_close(2 * ours, simreg)


def test_missing_rows_do_not_enter_the_running_statistics() -> None:
    module, rows = heads(), students(6)
    strange = rows.clone()
    strange[0] = 1e4
    masks = {"one": torch.arange(6) > 0, "two": torch.ones(6, dtype=torch.bool)}

    module(strange, masks)

    first, second = module.perceptrons
    assert first.get_buffer("norms.0.running_mean").abs().max() < 1
    assert second.get_buffer("norms.0.running_mean").abs().max() > 10


def test_a_batch_of_one_row_uses_the_running_statistics_and_does_not_update_them() -> None:
    module = heads()
    module(students(64))
    before = {name: value.clone() for name, value in module.named_buffers()}

    alone = module(students(1))["one"].mean

    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())
    torch.testing.assert_close(alone, module.eval()(students(1))["one"].mean)


def test_depth_and_hidden_have_their_effect_and_no_depth_is_refused() -> None:
    assert len(heads(depth=3).perceptrons[0].get_submodule("layers").state_dict()) == 6
    assert heads(hidden=5).perceptrons[0].get_parameter("mean.weight").shape == (6, 5)
    with pytest.raises(ParamsError, match=r"heads.depth must be at least 1, got 0"):
        heads(depth=0)


def test_a_bundle_stores_the_running_statistics(tmp_path: Path) -> None:
    module = heads(modes=2)
    for seed in range(3):
        module(3 + 2 * students(16, seed))
    card = HeadsCard(
        heads=Plugin.model_validate({"name": "batch-norm-mlp", "hidden": 8, "modes": 2}),
        weighting=Plugin(name="none"),
        student_dim=4,
        student_sha256="0" * 64,
        teachers=tuple(DIMS),
        teacher_dims=DIMS,
        scale="predicted",
        factors={},
        novelty=None,
    )
    standardisers = {name: Standardiser.unchanged(dim) for name, dim in DIMS.items()}

    save_heads(HeadsBundle(card, module, standardisers, {}), tmp_path / "heads")
    loaded = load_heads(tmp_path / "heads").module

    expected = module.state_dict()
    assert int(expected["perceptrons.0.norms.0.num_batches_tracked"]) == 3
    for key, value in loaded.state_dict().items():
        assert value.shape == expected[key].shape
        assert torch.equal(value, expected[key])
    torch.testing.assert_close(
        loaded(students(3))["one"].mean, module.eval()(students(3))["one"].mean, rtol=0, atol=0
    )


def simreg_project(root: Path, rows: int = 240) -> Layout:
    layout = make_distill_project(root, rows)
    params = small_params(rows=rows, heads=OPTIONS, loss={"name": "cosine"})
    distill(root, params, "text")
    return layout


def test_simreg_distillation_is_reproducible_and_its_heads_are_usable(tmp_path: Path) -> None:
    first = simreg_project(tmp_path / "first")
    second = simreg_project(tmp_path / "second")

    assert outputs(first) == outputs(second)
    bundle = load_heads(first.heads)
    moments = predicted_moments(bundle.module, encode(load_student(first.student), ["red cat 1"]))
    assert {name: mean.shape for name, (mean, _) in moments.items()} == {
        name: (1, dim) for name, dim in TEACHERS.items()
    }
    tracked = bundle.module.get_submodule("perceptrons.0.norms.0").state_dict()
    assert int(tracked["num_batches_tracked"]) > 0
    assert not torch.equal(tracked["running_mean"], torch.zeros(16))


def test_a_last_batch_of_one_row_does_not_fail(tmp_path: Path) -> None:
    layout = make_distill_project(tmp_path, 240)
    params = small_params(heads=OPTIONS, loss={"name": "cosine"}, training={"epochs": 1})
    n_train = distill(tmp_path, params, "text").n_train
    batch = next(size for size in range(16, n_train) if n_train % size == 1)
    params = small_params(
        heads=OPTIONS, loss={"name": "cosine"}, training={"epochs": 1, "batch_size": batch}
    )

    report = distill(tmp_path, params, "text")

    assert report.steps == n_train // batch + 1
    assert torch.isfinite(torch.tensor(report.held_out_mean))
    assert layout.heads.exists()


class StoppedError(Exception):
    """Raised as by a keyboard interrupt."""


def test_a_resumed_run_has_the_running_statistics_of_an_uninterrupted_one(tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int, **figures: float) -> None:
        if done >= 8:
            raise StoppedError

    whole = simreg_project(tmp_path / "whole")
    layout = make_distill_project(tmp_path / "stopped")
    params = small_params(heads=OPTIONS, loss={"name": "cosine"})
    with pytest.raises(StoppedError):
        distill(layout.root, params, "text", progress=stop)
    assert list(layout.work("distill", "").rglob("checkpoint-*"))

    distill(layout.root, params, "text")

    assert outputs(layout) == outputs(whole)
