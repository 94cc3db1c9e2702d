"""Forward and backward pass of heads and loss: our heads against heads of the published size."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from bench._wide_heads import WideHeads
from bench.measure import Row, compare_medians, seconds_in_turn
from polydistill.config.params import load_params
from polydistill.heads import HEADS
from polydistill.losses.gaussian_nll import gaussian_nll

BATCH, STUDENT_DIM = 256, 384
TEACHER_DIMS = {"first": 1024, "second": 1024, "third": 1024, "wide": 4096}
REPETITIONS = 11
GOAL = "at least 20"
Options = dict[str, object]


def run(device: str = "cpu") -> list[Row]:
    """Time both on the same synthetic embeddings and targets, with the same loss; on a CPU, with one thread."""
    torch.set_num_threads(1)
    heads = load_params(Path()).modality("text").heads
    whole = {**heads.options, "mean_rank": None, "scale_rank": None}
    return [
        _row("the default", heads.name, heads.options, device),
        _row("means and scales from the whole trunk", heads.name, whole, device),
    ]


def _row(variant: str, name: str, options: Options, device: str) -> Row:
    build = HEADS.get(name)
    ours: nn.Module = build(
        STUDENT_DIM, TEACHER_DIMS, torch.Generator().manual_seed(0), **options
    ).to(device)
    peer = WideHeads(STUDENT_DIM, TEACHER_DIMS, seed=0).to(device)
    draw = torch.Generator().manual_seed(1)
    student = torch.randn(BATCH, STUDENT_DIM, generator=draw).to(device)
    targets = {
        name: torch.randn(BATCH, dim, generator=draw).to(device)
        for name, dim in TEACHER_DIMS.items()
    }
    mask = torch.ones(BATCH, dtype=torch.bool, device=device)

    def pass_through(heads: nn.Module) -> None:
        heads.zero_grad()
        predictions = heads(student.clone().requires_grad_())
        losses = [gaussian_nll(predictions[t], targets[t], mask).mean() for t in TEACHER_DIMS]
        torch.stack(losses).mean().backward()
        if device != "cpu":
            torch.cuda.synchronize()

    calls = [lambda: pass_through(ours), lambda: pass_through(peer)]
    seconds_in_turn(calls, 1)  # the first pass allocates memory
    own, their = seconds_in_turn(calls, REPETITIONS)
    sizes = " against ".join(
        f"{sum(weight.numel() for weight in heads.parameters()) / 1e6:.1f}M"
        for heads in (ours, peer)
    )
    label = f"heads, {variant}: forward and backward with the loss, {sizes} parameters; {device}"
    return compare_medians(label, own, their, GOAL)
