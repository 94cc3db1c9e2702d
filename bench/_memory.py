"""One process of the benchmark `peak-memory`: it trains for a few steps and prints its peak memory in MiB.

`python -m bench._memory all|alone transformer|default`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bench._project import TRANSFORMER, open_student, read_project, teacher_dims
from polydistill.config.params import Params
from polydistill.contracts import Student
from polydistill.data.corpora import StoredCorpus, open_corpus
from polydistill.data.modalities.text import TextModality
from polydistill.embeddings.store import open_corpus_embeddings
from polydistill.project.layout import Layout
from polydistill.training.standardise import fit_standardiser

STEPS = 2


def main(which: str, kind: str) -> None:
    """Read the corpus and all its teacher embeddings, and train for a few steps."""
    params = read_project()
    settings = params.modality("text").corpus
    corpus = open_corpus(Layout(Path(), "text").corpus, settings, TextModality())
    student = open_student(
        params, TRANSFORMER if kind == "transformer" else params.modality("text").student
    )
    if which == "all":
        _train_with_all(params, student, corpus)
    else:
        _train_alone(params, student, corpus)
    sys.stdout.write(f"{peak_mib():.0f}\n")


def peak_mib() -> float:
    """Return the largest resident set of this process, in MiB.

    It reads `/proc`, so it needs Linux. `getrusage` is unsuitable: its value includes the parent's memory at the start
    of this process.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return float(line.split()[1]) / 1024


def _train_with_all(params: Params, student: Student, corpus: StoredCorpus) -> None:
    """Train as the distill stage does: all teachers, heads, geometry and Trainer."""
    from bench._project import build_model
    from polydistill.training.dataset import Batches
    from polydistill.training.distillation import standardised_targets
    from polydistill.training.trainer import TrainingPlan, train

    stored = open_corpus_embeddings(
        Layout(Path(), "text").corpus_embeddings(params.enabled_teachers("text")), corpus.ids
    )
    model = build_model(params, student, {name: one.dim for name, one in stored.items()})
    trained = np.ones(len(corpus), dtype=np.bool_)
    targets = standardised_targets(stored, trained, model.weighting, {})
    present = {name: torch.from_numpy(one.present.copy()) for name, one in stored.items()}
    size = params.modality("text").training.batch_size
    training = params.modality("text").training.model_copy(update={"epochs": 1})
    with tempfile.TemporaryDirectory() as folder:
        plan = TrainingPlan(
            training, params.seed, params.precision, tuple(stored), Path(folder) / "checkpoints"
        )
        train(
            model,
            Batches(corpus.examples, student.collate, targets, present),
            (np.arange(STEPS * size), np.arange(STEPS * size, (STEPS + 1) * size)),
            plan,
        )


def _train_alone(params: Params, student: Student, corpus: StoredCorpus) -> None:
    """Train as a minimal script would: one teacher, a linear head, squared error and AdamW."""
    dims = teacher_dims(params)
    widest = max(dims, key=dims.__getitem__)
    stored = open_corpus_embeddings(
        {widest: Layout(Path(), "text").embeddings("corpus", widest)}, corpus.ids
    )
    values = stored[widest].take(np.arange(len(corpus))).values
    targets = torch.from_numpy(
        fit_standardiser(values, np.ones(len(corpus), dtype=np.bool_)).apply(values)
    )
    del values
    head = nn.Linear(student.dim, targets.shape[1])
    weights: list[Tensor] = [*student.module.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, 1e-4, fused=True)
    size = params.modality("text").training.batch_size
    for step in range(STEPS):
        rows = range(step * size, (step + 1) * size)
        embedded = student.forward(student.collate([corpus.examples[row] for row in rows]))
        loss = nn.functional.mse_loss(head(embedded), targets[list(rows)])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, params.modality("text").training.max_grad_norm)
        optimizer.step()


if __name__ == "__main__":
    main(*sys.argv[1:])
