"""One process of the benchmark `peak-memory`: it trains for a few steps and prints its peak memory in MiB.

`python -m bench._memory all|alone transformer|default`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bench._project import (
    TRANSFORMER,
    open_embeddings_of,
    open_stored_corpus,
    open_student,
    read_project,
    short_training,
    teacher_dims,
)
from polydistill.config.params import Params
from polydistill.contracts import Student
from polydistill.data.corpora import StoredCorpus
from polydistill.embeddings.store import open_corpus_embeddings
from polydistill.project.layout import Layout
from polydistill.training.standardise import fit_standardiser

STEPS = 2


def main(which: str, kind: str) -> None:
    """Read the corpus and all its teacher embeddings, and train for a few steps."""
    params = read_project()
    corpus = open_stored_corpus(params)
    student = open_student(
        params, TRANSFORMER if kind == "transformer" else params.modality("text").student
    )
    if which == "all":
        short_training(params, student, corpus, open_embeddings_of(params, corpus), STEPS)()
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
