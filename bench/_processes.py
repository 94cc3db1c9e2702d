"""Prints the seconds of each training step in a process group: `python -m bench._processes default`."""

from __future__ import annotations

import json
import sys
import time

import torch
from torch.nn.parallel import DistributedDataParallel

from bench._project import TRANSFORMER, read_project, teacher_dims
from bench._step import Step
from polydistill.config.environment import use_threads
from polydistill.training import processes

WARM_UP, BATCHES = 1, 8
STEPS = {"default": 30, "transformer": 3}


def main(name: str) -> None:
    """Time the steps of this process's share of each batch, on one thread."""
    processes.join("cpu")
    use_threads(1)
    torch.manual_seed(0)
    params = read_project()
    kind = TRANSFORMER if name == "transformer" else params.modality("text").student
    step = Step(params, kind, teacher_dims(params), BATCHES)
    step.model.train()
    model = DistributedDataParallel(step.model) if processes.count() > 1 else step.model
    seconds = []
    for number in range(WARM_UP + STEPS[name]):
        started = time.perf_counter()
        step.whole(number, model)
        seconds.append(time.perf_counter() - started)
    if processes.rank() == 0:
        print(json.dumps(seconds[WARM_UP:]))  # noqa: T201 - read by bench.processes


if __name__ == "__main__":
    main(sys.argv[1])
