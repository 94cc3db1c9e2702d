"""Rows per second of the whole training loop, against sentence-transformers' trainer with its distillation loss."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench._project import (
    open_embeddings_of,
    open_stored_corpus,
    open_student,
    read_project,
    short_training,
)
from bench.measure import Row, compare_rates, quartiles, seconds_in_turn
from polydistill.project.layout import Layout

STEPS, PAIRS = 370, 5
TEACHER = "minilm-l6"


def run() -> list[Row]:
    """Train the default student on all cached teachers; the peer trains it on one of them with a projection."""
    params = read_project()
    block = params.modality("text")
    n_rows = STEPS * block.training.batch_size
    corpus = open_stored_corpus(params)
    stored = open_embeddings_of(params, corpus)
    texts = [str(corpus.examples[row]) for row in range(n_rows)]
    labels = stored[TEACHER].take(np.arange(n_rows)).values
    seconds = np.zeros((2, PAIRS))
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(PAIRS):
            student = open_student(params, block.student)
            ours = short_training(params, student, corpus, stored, STEPS)
            theirs = _trainer(texts, labels, block.training.batch_size, folder).train
            torch.set_num_threads(params.threads)
            calls = [ours, theirs] if pair % 2 else [theirs, ours]
            found = seconds_in_turn(calls, 1)[:, 0]
            seconds[:, pair] = found if pair % 2 else found[::-1]
    row = compare_rates(
        f"distillation: {block.student.name} student on {len(stored)} cached teachers, against sentence-transformers' "
        "trainer with EmbedDistillLoss on one",
        (float(np.median(seconds[0])), float(np.median(seconds[1]))),
        n_rows,
    )
    return [Row(**row, spread=quartiles(seconds[1] / seconds[0]), goal="at least 1.0")]  # type: ignore[misc]


def _trainer(
    texts: list[str],
    labels: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    size: int,
    folder: str,
) -> Any:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss

    student = SentenceTransformer(str(Layout(Path(), "text").undistilled), device="cpu")
    loss = EmbedDistillLoss(student, projection_dim=labels.shape[1])
    arguments = SentenceTransformerTrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=size,
        num_train_epochs=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    data = Dataset.from_dict({"text": texts, "label": labels})
    return SentenceTransformerTrainer(model=student, args=arguments, train_dataset=data, loss=loss)
