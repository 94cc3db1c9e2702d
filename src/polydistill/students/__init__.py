"""Plug-in package of the students, one file per student; functions that load a bundle and encode examples."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polydistill.contracts import Example, FloatArray, Student
from polydistill.errors import DataError, MissingDataError
from polydistill.plugins import Plugins
from polydistill.project.files import sha256_of

STUDENTS: Plugins[Any] = Plugins("student", __name__)
CARD, WEIGHTS = "student.json", "model.safetensors"


def load_student(folder: Path) -> Student:
    """Return the student that is saved in a bundle, the folder that `Student.save` writes.

    Raises:
        MissingDataError: The folder holds no bundle.
        DataError: The bundle's card is damaged.
    """
    card = folder / CARD
    if not card.exists():
        raise MissingDataError(f"No student in {folder}: run the distill stage.")
    try:
        name = json.loads(card.read_text(encoding="utf-8"))["name"]
    except (ValueError, KeyError) as error:
        raise DataError(f"{card} is damaged: {error}. Run the distill stage again.") from error
    student: Student = STUDENTS.get(name).load(folder)
    return student


def weights_digest(folder: Path) -> str:
    """Return the sha256 of a bundle's weights, which identifies a student.

    Raises:
        MissingDataError: The folder holds no weights.
    """
    weights = sorted(folder.rglob(WEIGHTS))
    if not weights:
        raise MissingDataError(f"No {WEIGHTS} in {folder}: run the distill stage.")
    return sha256_of(weights[0])


def encode(student: Student, examples: Sequence[Example], batch_size: int = 256) -> FloatArray:
    """Return the embeddings of examples, in order: `(n_examples, dim)`, float32, not normalised."""
    parts = [np.empty((0, student.dim), dtype=np.float32)]
    training = student.module.training
    device = next(student.module.parameters()).device
    student.module.eval()
    with torch.inference_mode():
        for start in range(0, len(examples), batch_size):
            features = student.collate(examples[start : start + batch_size])
            features = {name: tensor.to(device) for name, tensor in features.items()}
            parts.append(student.forward(features).float().cpu().numpy())
    student.module.train(training)
    return np.concatenate(parts)
