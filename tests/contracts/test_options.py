"""Every option of every training plug-in has an effect."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from polydistill.contracts import FittedGeometry
from polydistill.heads import HEADS
from polydistill.losses import LOSSES
from polydistill.losses.relational import GEOMETRY, build_geometry
from polydistill.plugins import Plugins
from polydistill.training.weighting import WEIGHTINGS
from tests.predictions import random_prediction

GIVEN = {
    "loss": {"prediction", "target", "mask"},
    "head": {"student_dim", "teacher_dims", "generator"},
    "relational term": {"student", "student_dim", "teacher_dims", "targets", "masks"},
    "weighting": {"n_teachers"},
}
OTHER: dict[str, Any] = {
    "beta": 0.9,
    "scale": 3.0,
    "width_power": 1.0,
    "rank_power": 3.0,
    "whitening": 0.0,
    "queue": 2,
    "temperature": 0.5,
    "decay": 0.5,
    "momentum": 0.5,
    "keep": 0.1,
    "reach": 0.5,
    "hidden": 12,
    "mean_rank": 3,
    "scale_rank": 3,
    "depth": 3,
    "modes": 2,
    "covariance": "triangular",
    "rank": 3,
    "min_log_scale": -0.5,
    "max_log_scale": 0.5,
    "max_params": None,
}
"""A value of each option that differs from its default. A new option must be added here."""
NEEDS = {"rank": {"covariance": "low-rank"}}
REFUSES = {"max_params"}
"""Options that only refuse values; `test_heads` tests them."""
DIMS = {"one": 4, "two": 3}


def options(registry: Plugins[Any]) -> list[tuple[str, str]]:
    found = []
    for name in registry.names():
        arguments = set(inspect.signature(registry.get(name)).parameters) - GIVEN[registry.kind]
        found += [(name, option) for option in sorted(arguments - REFUSES)]
    return found


def of_loss(name: str, chosen: dict[str, Any]) -> Tensor:
    prediction, target = random_prediction(5, 1, 4)
    LOSSES.get(name)(prediction, target, torch.ones(5, dtype=torch.bool), **chosen).sum().backward()
    assert prediction.mean.grad is not None
    return prediction.mean.grad


def of_head(name: str, chosen: dict[str, Any]) -> Tensor:
    heads = HEADS.get(name)(6, DIMS, torch.Generator().manual_seed(0), **{"hidden": 8, **chosen})
    students = 20 * torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    parts = []
    for one in heads(students).values():
        parts += [one.mean, one.log_scale, one.log_weights]
        parts += [extra for extra in (one.factor, one.triangle) if extra is not None]
    return torch.cat([part.detach().flatten() for part in parts])


def of_geometry(name: str, chosen: dict[str, Any]) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    term = build_geometry(name, chosen, 6, tuple(DIMS.values()))
    if isinstance(term, FittedGeometry):
        masks = [torch.ones(40, dtype=torch.bool) for _ in DIMS]
        rows = [torch.randn(40, dim, generator=draw) for dim in (6, *DIMS.values())]
        rows[1][:, 0] *= 3
        term.fit(rows[0], rows[1:], masks)
    for _ in range(3):  # fills the queue
        student = torch.randn(5, 6, generator=draw)
        targets = [torch.randn(5, dim, generator=draw) for dim in DIMS.values()]
        value = term(student, targets, [torch.ones(5, dtype=torch.bool) for _ in DIMS])
    return value


def of_weighting(name: str, chosen: dict[str, Any]) -> Tensor:
    torch.manual_seed(0)
    weighting = WEIGHTINGS.get(name)(3, **chosen)
    for value in weighting.parameters():
        torch.nn.init.constant_(value, 0.7)
    mask = torch.ones(6, dtype=torch.bool)
    parts = []
    for step in range(8):
        losses = torch.tensor([1.0, 4.0, 2.0 + step])
        parts.append(weighting(losses, torch.tensor([True] * 3)).detach().reshape(1))
        moved = weighting.rescale(0, torch.full((6, 2), float(step)) + torch.eye(6)[:, :2], mask)
        parts.append(moved.flatten())
    return torch.cat(parts)


CASES = [
    pytest.param(of, name, option, id=f"{name}-{option}")
    for of, registry in (
        (of_loss, LOSSES), (of_head, HEADS), (of_geometry, GEOMETRY), (of_weighting, WEIGHTINGS),
    )
    for name, option in options(registry)
]  # fmt: skip


@pytest.mark.parametrize(("of", "name", "option"), CASES)
def test_every_option_changes_the_result(
    of: Callable[[str, dict[str, Any]], Tensor], name: str, option: str
) -> None:
    around = NEEDS.get(option, {})

    plain, other = of(name, around), of(name, {**around, option: OTHER[option]})

    assert np.isfinite(other.numpy()).all()
    assert plain.shape != other.shape or not torch.equal(plain, other)
