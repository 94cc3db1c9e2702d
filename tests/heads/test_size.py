"""The default heads are small compared with perceptrons of the size in the paper's text setting."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polydistill.heads import HEADS

TEXT_TEACHERS = {"a": 1024, "b": 1024, "c": 1024, "d": 4096}


def published(student_dim: int) -> nn.ModuleList:
    """Return, for each teacher, three hidden layers of width 1.4 times the teacher's, then mean and scale."""
    parts = nn.ModuleList()
    for dim in TEXT_TEACHERS.values():
        width = round(1.4 * dim)
        layers: list[nn.Module] = []
        for before in (student_dim, width, width):
            layers += [nn.Linear(before, width), nn.GELU()]
        parts.append(nn.Sequential(*layers, nn.Linear(width, 2 * dim)))
    return parts


def size(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize("name", HEADS.names())
def test_heads_for_the_teachers_of_the_paper_have_less_than_a_tenth_of_its_parameters(
    name: str,
) -> None:
    with torch.device("meta"):
        theirs = size(published(384))

    ours = size(HEADS.get(name)(384, TEXT_TEACHERS, torch.Generator()))

    assert round(theirs / 1e6) == 138  # the published number of parameters
    assert ours < 0.1 * theirs
