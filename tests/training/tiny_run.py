"""A training run of a few seconds: a bag-of-bytes student and two teachers that are linear in it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polydistill.config.training import TrainingParams
from polydistill.contracts import GeometryTerm, Progress, silent
from polydistill.heads.low_rank import LowRankHeads
from polydistill.losses.gaussian_nll import gaussian_nll
from polydistill.losses.relational.consensus_similarity import consensus_similarity
from polydistill.losses.relational.similarity_distribution import SimilarityDistribution
from polydistill.students import encode
from polydistill.students.bag_of_bytes import BagOfBytesStudent
from polydistill.training.dataset import Batches
from polydistill.training.model import DistillationModel
from polydistill.training.trainer import TrainingPlan, TrainingResult, train
from polydistill.training.weighting import WEIGHTINGS

N_EXAMPLES = 160
DIMS = {"one": 5, "two": 3}
PLAIN = "per-dimension"
QUEUE = "queue"
AVERAGE = "average"
"""With an exponential moving average of the weights."""
VARIANTS = (PLAIN, "ema-norm", "running", "teacher-dropping", "uncertainty", QUEUE)
"""Each but the first has a state besides weights, optimiser and schedule: a weighting, a generator or a queue."""
PARAMS = TrainingParams(
    epochs=4,
    batch_size=32,
    learning_rate=0.02,
    head_learning_rate=0.01,
    warmup_share=0.1,
    head_warmup_steps=2,
    weight_decay=0.01,
    max_grad_norm=1.0,
    evals_per_epoch=2,
    patience=50,
)


def make_model(
    geometry: GeometryTerm | None = consensus_similarity, weight: float = 0.5, variant: str = PLAIN
) -> tuple[DistillationModel, BagOfBytesStudent, Batches]:
    """Return a model with its student, and batches of seeded texts and targets."""
    draw = torch.Generator().manual_seed(0)
    letters = torch.randint(97, 105, (N_EXAMPLES, 12), generator=draw).tolist()
    texts = [bytes(row).decode() for row in letters]
    student = BagOfBytesStudent.build(texts, draw, dim=8)
    inputs = torch.from_numpy(encode(BagOfBytesStudent.build(texts, draw, dim=8), texts))
    targets, masks = {}, {}
    for name, dim in DIMS.items():
        values = inputs @ torch.randn(8, dim, generator=draw)
        targets[name] = (values - values.mean(dim=0)) / values.std(dim=0)
        masks[name] = torch.rand(N_EXAMPLES, generator=draw) < 0.9
    heads = LowRankHeads(student.dim, DIMS, draw, hidden=8)
    if variant == QUEUE:
        geometry = SimilarityDistribution(student.dim, tuple(DIMS.values()), queue=48)
    weighting = WEIGHTINGS.get(PLAIN if variant in {QUEUE, AVERAGE} else variant)(len(DIMS))
    model = DistillationModel(student, heads, gaussian_nll, geometry, weight, weighting)
    return model, student, Batches(texts, student.collate, targets, masks)


def run(  # noqa: PLR0913
    folder: Path,
    params: TrainingParams = PARAMS,
    *,
    seed: int = 0,
    precision: str = "float32",
    progress: Progress = silent,
    variant: str = PLAIN,
    device: str = "cpu",
    **plan_fields: Any,
) -> tuple[TrainingResult, DistillationModel]:
    """Train; the last fifth of the rows is held out. `plan_fields` are other fields of the plan."""
    torch.set_num_threads(1)
    model, _, batches = make_model(variant=variant)
    if variant == AVERAGE:
        params = params.model_copy(update={"average_decay": 0.9})
    rows = np.arange(N_EXAMPLES)
    cut = N_EXAMPLES * 4 // 5
    fields = {"progress": progress, "device": device, **plan_fields}
    plan = TrainingPlan(params, seed, precision, tuple(DIMS), folder, **fields)
    result = train(model, batches, (rows[:cut], rows[cut:]), plan)
    return result, model


def weights(model: torch.nn.Module) -> bytes:
    """Return all weights as bytes."""
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


def killer(step: int) -> Callable[..., None]:
    """Return a progress that kills this process at `step`, as a power cut would."""
    import os
    import signal

    def listen(what: str, done: int, total: int, **figures: float) -> None:
        if done >= step:
            os.kill(os.getpid(), signal.SIGKILL)

    return listen


if __name__ == "__main__":
    run(Path(sys.argv[1]), progress=killer(int(sys.argv[2])), variant=sys.argv[3])
