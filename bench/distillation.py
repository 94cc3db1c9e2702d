"""Rows per second of the whole training loop, against sentence-transformers' trainer with its distillation loss."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from bench._project import (
    open_embeddings_of,
    open_stored_corpus,
    open_student,
    read_project,
    train_briefly,
)
from bench.measure import Row, compare_rates, quartiles, seconds_in_turn
from polydistill.project.layout import Layout

STEPS, PAIRS = 40, 5
TEACHER = "minilm-l6"


def run() -> list[Row]:
    """Train the default student on all cached teachers; the peer trains it on one of them with a projection."""
    params = read_project()
    block = params.modality("text")
    size = block.training.batch_size
    corpus = open_stored_corpus(params)
    stored = open_embeddings_of(params, corpus)
    texts = [str(corpus.examples[row]) for row in range(STEPS * size)]
    labels = stored[TEACHER].take(np.arange(len(texts))).values

    def ours() -> None:
        train_briefly(params, open_student(params, block.student), corpus, stored, STEPS)

    def theirs() -> None:
        _train_with_sentence_transformers(texts, labels, size)

    ours()
    theirs()
    torch.set_num_threads(params.threads)
    seconds = seconds_in_turn([ours, theirs], PAIRS)
    row = compare_rates(
        f"distillation: {block.student.name} student on {len(stored)} cached teachers, against sentence-transformers' "
        "trainer with EmbedDistillLoss on one",
        (float(np.median(seconds[0])), float(np.median(seconds[1]))),
        len(texts),
    )
    return [Row(**row, spread=quartiles(seconds[1] / seconds[0]), goal="at least 1.0")]  # type: ignore[misc]


def _train_with_sentence_transformers(
    texts: list[str], labels: np.ndarray[tuple[int, ...], np.dtype[np.float32]], size: int
) -> None:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss

    student = SentenceTransformer(str(Layout(Path(), "text").undistilled), device="cpu")
    loss = EmbedDistillLoss(student, projection_dim=labels.shape[1])
    with tempfile.TemporaryDirectory() as folder:
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
        SentenceTransformerTrainer(
            model=student, args=arguments, train_dataset=data, loss=loss
        ).train()
