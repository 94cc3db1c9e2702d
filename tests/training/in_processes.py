"""Trains in a process group: `python -m tests.training.in_processes FOLDER`, which `torchrun` or the test starts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from polydistill.heads.batch_norm_mlp import BatchNormMlpHeads
from polydistill.training import processes
from polydistill.training.dataset import RowNumbers
from tests.training.tiny_run import DIMS, QUEUE, VARIANTS, make_model, run

N_ROWS = 31
"""An odd number, so that one share of the batch must be filled."""
BATCH_NORM = "batch-norm-mlp"


def made(variant: str) -> tuple[nn.Module, Any]:
    """Return a model in training mode, and its batches; dropping depends on random numbers, which all share."""
    torch.manual_seed(0)
    model, _, batches = make_model(variant="per-dimension" if variant == BATCH_NORM else variant)
    if variant == BATCH_NORM:
        generator = torch.Generator().manual_seed(0)
        model.heads = BatchNormMlpHeads(8, DIMS, generator, hidden=8)
        model._by_batch = True
    return model.train(), batches


def gradients(variant: str) -> dict[str, Tensor]:
    """Return the loss of two batches, and the gradients of the second, as each process of a group has them."""
    model, batches = made(variant)
    rows = RowNumbers(torch.arange(160).numpy())
    wrapped = DistributedDataParallel(model) if processes.count() > 1 else model
    for first in (0, N_ROWS):
        model.zero_grad()
        indices = list(range(first, first + N_ROWS))
        share = processes.share_of(indices, processes.rank(), processes.count())
        outputs = wrapped(**batches([rows[index] for index in share]))
        outputs["loss"].backward()
    found = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    buffers = {f"buffer {name}": one for name, one in model.named_buffers()}
    losses = {name: outputs[name].double() for name in ("loss", "sums", "counts", "geometry")}
    return {name: one.detach().clone() for name, one in {**found, **buffers, **losses}.items()}


def main(folder: Path) -> None:
    """Write the gradients of every variant, and train."""
    processes.join("cpu")
    torch.set_num_threads(1)
    for variant in (*VARIANTS, BATCH_NORM, QUEUE):
        found = gradients(variant)
        save_file(found, folder / f"{variant}-{processes.rank()}.safetensors")
    result, model = run(folder / "checkpoints")
    content = {"history": result.history, "best": result.best_step, "steps": result.steps}
    (folder / f"result-{processes.rank()}.json").write_text(json.dumps(content))
    save_file(dict(model.state_dict()), folder / f"trained-{processes.rank()}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
