"""Under autocast every part of a run stays close to its float32 result."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from polydistill.contracts import Prediction
from polydistill.heads import HEADS
from polydistill.losses import LOSSES
from polydistill.losses.relational import GEOMETRY, build_geometry
from polydistill.stages.distill import distill
from polydistill.students.bag_of_bytes import BagOfBytesStudent
from polydistill.training.model import DistillationModel
from polydistill.training.weighting import WEIGHTINGS
from tests.distill_project import make_distill_project, outputs, small_params

DIMS = {"narrow": 3, "wide": 200}
TOLERANCE = 0.03
"""Relative tolerance for bfloat16, which keeps eight bits, after a few layers."""
WITHOUT_LOW_RANK = {"beta-nll"}
CASES = [
    (loss, head, covariance)
    for loss in LOSSES.names()
    for head in HEADS.names()
    for covariance in ("diagonal", "low-rank", "triangular")
    if not (loss in WITHOUT_LOW_RANK and covariance == "low-rank")
]


class Table(nn.Module):
    """Embeddings that are learned directly, so that they are the same in both precisions."""

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows)


class TableStudent(BagOfBytesStudent):
    """Returns the rows of its table."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.table, self.dim = Table(rows), rows.shape[1]

    @property
    def module(self) -> nn.Module:  # type: ignore[override]
        return self.table

    def forward(self, features: object) -> torch.Tensor:
        return self.table.rows


def step(
    model_of: partial[DistillationModel], *, half: bool, scale: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of one batch, and its gradient at the student's embeddings."""
    draw = torch.Generator().manual_seed(1)
    student = TableStudent(scale * torch.randn(24, 16, generator=draw))
    targets = {name: torch.randn(24, dim, generator=draw) for name, dim in DIMS.items()}
    masks = {name: torch.arange(24) % 5 > place for place, name in enumerate(DIMS)}
    torch.manual_seed(0)  # of teacher dropping
    model = model_of(student)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss = model(features={}, targets=targets, masks=masks)["loss"]
    loss.backward()
    gradient = student.table.rows.grad
    assert gradient is not None
    return loss.detach(), gradient


def model(
    student: TableStudent,
    loss: str = "gaussian-nll",
    head: str = "low-rank",
    covariance: str = "diagonal",
    geometry: str | None = None,
    weighting: str = "per-dimension",
) -> DistillationModel:
    draw = torch.Generator().manual_seed(0)
    heads = HEADS.get(head)(16, DIMS, draw, hidden=32, modes=2, covariance=covariance)
    dims = tuple(DIMS.values())
    term = build_geometry(geometry, {}, 16, dims) if geometry else None
    return DistillationModel(
        student, heads, LOSSES.get(loss), term, 1.0, WEIGHTINGS.get(weighting)(len(DIMS))
    )


def assert_near(model_of: partial[DistillationModel], tolerance: float = TOLERANCE) -> None:
    full, gradient = step(model_of, half=False)
    half, half_gradient = step(model_of, half=True)

    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=tolerance, atol=tolerance)
    assert torch.isfinite(half_gradient).all()
    direction = nn.functional.cosine_similarity(half_gradient.flatten(), gradient.flatten(), dim=0)
    assert direction > 1 - tolerance
    assert float(half_gradient.norm()) == pytest.approx(float(gradient.norm()), rel=5 * tolerance)


@pytest.mark.parametrize(("loss", "head", "covariance"), CASES)
def test_every_loss_of_every_head_is_near_float32(loss: str, head: str, covariance: str) -> None:
    assert_near(partial(model, loss=loss, head=head, covariance=covariance))


@pytest.mark.parametrize("geometry", GEOMETRY.names())
def test_every_geometry_term_is_near_float32(geometry: str) -> None:
    assert_near(partial(model, loss="mse", geometry=geometry))


@pytest.mark.parametrize("weighting", WEIGHTINGS.names())
def test_every_weighting_is_near_float32(weighting: str) -> None:
    assert_near(partial(model, weighting=weighting))


@pytest.mark.parametrize("loss", LOSSES.names())
@pytest.mark.parametrize("head", HEADS.names())
def test_embeddings_a_thousand_times_too_large_or_small_stay_finite(loss: str, head: str) -> None:
    for scale in (1e-3, 1e3):
        value, gradient = step(partial(model, loss=loss, head=head), half=True, scale=scale)

        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("head", HEADS.names())
def test_heads_end_in_float32_under_autocast_but_compute_in_half(head: str) -> None:
    rows = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    heads = HEADS.get(head)(16, DIMS, torch.Generator().manual_seed(0), hidden=32)
    full: dict[str, Prediction] = heads(rows)

    with torch.autocast("cpu", torch.bfloat16):
        half: dict[str, Prediction] = heads(rows)

    for name in DIMS:
        assert half[name].mean.dtype == half[name].log_scale.dtype == torch.float32
        assert not torch.equal(half[name].mean, full[name].mean)


@pytest.mark.parametrize("head", HEADS.names())
@pytest.mark.parametrize("loss", LOSSES.names())
def test_float64_stays_float64(head: str, loss: str) -> None:
    heads = HEADS.get(head)(16, DIMS, torch.Generator().manual_seed(0), hidden=32).double()
    rows = torch.randn(8, 16, dtype=torch.float64)

    values = LOSSES.get(loss)(
        heads(rows)["narrow"], torch.randn(8, 3).double(), torch.ones(8, dtype=torch.bool)
    )

    assert values.dtype == torch.float64
    assert torch.isfinite(values).all()


def test_a_run_in_bfloat16_learns_and_is_another_one(tmp_path: Path) -> None:
    layout = make_distill_project(tmp_path)
    heads = {"name": "batch-norm-mlp", "hidden": 16}
    full = distill(tmp_path, small_params(heads=heads), "text")
    written = outputs(layout)
    params = small_params(heads=heads).model_copy(update={"precision": "bfloat16"})

    half = distill(tmp_path, params, "text")

    assert half.student_sha256 != full.student_sha256
    assert half.undistilled_sha256 == full.undistilled_sha256
    assert half.held_out_mean == pytest.approx(full.held_out_mean, abs=TOLERANCE)
    assert half.coverage_90.keys() == full.coverage_90.keys()
    assert outputs(layout).keys() == written.keys()
