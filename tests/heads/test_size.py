"""Small heads do what large ones do: against perceptrons of the size that the paper's text setting has."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from polydistill.contracts import Prediction
from polydistill.heads import HEADS
from polydistill.heads.low_rank import LowRankHeads
from polydistill.losses.gaussian_nll import gaussian_nll

TEXT_TEACHERS = {"a": 1024, "b": 1024, "c": 1024, "d": 4096}
DIMS = {"one": 64, "two": 48}
STUDENT = 12


class Perceptrons(nn.Module):
    """For each teacher three hidden layers of width 1.4 times the teacher's, then mean and scale."""

    def __init__(self, student_dim: int, dims: dict[str, int]) -> None:
        super().__init__()
        self.dims, self.parts = dims, nn.ModuleList()
        for dim in dims.values():
            width = round(1.4 * dim)
            layers: list[nn.Module] = []
            for before in (student_dim, width, width):
                layers += [nn.Linear(before, width), nn.GELU()]
            self.parts.append(nn.Sequential(*layers, nn.Linear(width, 2 * dim)))

    def forward(self, student: Tensor) -> dict[str, Prediction]:
        weights = student.new_zeros(len(student), 1)
        found = {}
        for name, part in zip(self.dims, self.parts, strict=True):
            mean, log_scale = part(student).unsqueeze(1).chunk(2, dim=-1)
            found[name] = Prediction(mean, log_scale.clamp(-6, 4), weights)
        return found


def size(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def data(rows: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Teachers that are a gently curved function of the student, with noise that grows with its norm."""
    fixed, draw = torch.Generator().manual_seed(0), torch.Generator().manual_seed(rows)
    student, targets = torch.randn(rows, STUDENT, generator=draw), {}
    for name, dim in DIMS.items():
        straight, curved = (torch.randn(STUDENT, dim, generator=fixed) for _ in range(2))
        mean = student @ straight * STUDENT**-0.5 + 0.4 * torch.sin(
            student @ curved * STUDENT**-0.5
        )
        spread = 0.2 * student.norm(dim=1, keepdim=True) / STUDENT**0.5
        targets[name] = mean + spread * torch.randn(rows, dim, generator=draw)
    return student, targets


def held_out_nll(heads: nn.Module) -> float:
    (student, targets), (unseen, theirs) = data(4096), data(2048)
    optimizer = torch.optim.Adam(heads.parameters(), lr=2e-3)
    order = torch.Generator().manual_seed(1)

    def loss(rows: Tensor, wanted: dict[str, Tensor]) -> Tensor:
        mask, found = torch.ones(len(rows), dtype=torch.bool), heads(rows)
        return torch.stack([gaussian_nll(found[t], wanted[t], mask).mean() for t in DIMS]).mean()

    for _ in range(300):
        at = torch.randint(len(student), (128,), generator=order)
        optimizer.zero_grad()
        loss(student[at], {name: values[at] for name, values in targets.items()}).backward()
        optimizer.step()
    with torch.no_grad():
        return loss(unseen, theirs).item()


@pytest.mark.parametrize("name", HEADS.names())
def test_heads_of_the_papers_teachers_have_less_than_a_tenth_of_its_parameters(name: str) -> None:
    with torch.device("meta"):
        published = size(Perceptrons(384, TEXT_TEACHERS))

    ours = size(HEADS.get(name)(384, TEXT_TEACHERS, torch.Generator()))

    assert round(published / 1e6) == 138  # the published count: this is the published setting
    assert ours < 0.1 * published


def test_low_rank_heads_lose_no_held_out_likelihood_against_large_ones() -> None:
    torch.manual_seed(0)
    large = Perceptrons(STUDENT, DIMS)
    small = LowRankHeads(STUDENT, DIMS, torch.Generator().manual_seed(0), hidden=64)

    assert size(small) < 0.5 * size(large)
    assert held_out_nll(small) < held_out_nll(large) + 0.02
