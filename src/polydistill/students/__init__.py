"""Plug-in package of the students, one file per student; functions that load a bundle and encode examples."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from polydistill.contracts import Example, FloatArray, Student
from polydistill.errors import MissingDataError, MissingExtraError
from polydistill.plugins import Plugins
from polydistill.project.card import damaged, read_card
from polydistill.project.files import sha256_of

STUDENTS: Plugins[Any] = Plugins("student", __name__)
CARD, WEIGHTS = "student.json", "model.safetensors"
REMEDY = "copy the folder again, or run the distill stage again"
"""What to do about a damaged bundle."""


class StudentCard(BaseModel):
    """The content of `student.json`.

    Attributes:
        name: The plug-in name of the student.
        dim: Width of the embeddings.
        modality: The kind of the student's examples, if the Python API saved the student.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    name: str
    dim: int
    modality: str | None = None


def read_student_card(folder: Path, *, verify: bool = False) -> StudentCard:
    """Return the card of a bundle; `verify` also compares the bundle's files with the hashes in the card.

    Raises:
        MissingDataError: There is no card, or a file of the bundle is missing.
        DataError: The card or a file of the bundle is damaged.
    """
    card = folder / CARD
    if not os.path.lexists(card):
        raise MissingDataError(f"No student in {folder}, no {CARD}: run the distill stage.")
    content = read_card(card, REMEDY, verify=verify)
    try:
        return StudentCard.model_validate(content)
    except ValidationError as error:
        raise damaged(card, error, REMEDY) from error


def load_student(folder: Path, device: str = "cpu") -> Student:
    """Return the student that is saved in a bundle, the folder that `Student.save` writes, on a device of PyTorch.

    The files are compared with the hashes in the card. A bundle of an earlier release has no hashes.

    Raises:
        MissingDataError: The folder holds no bundle, or a file of the bundle is missing.
        DataError: A file of the bundle is damaged.
    """
    card = read_student_card(folder, verify=True)
    try:
        student: Student = STUDENTS.get(card.name).load(folder)
    except MissingExtraError:
        raise
    except (
        Exception
    ) as error:  # libraries raise errors of many types; tokenizers raises `Exception`
        what = f"no {card.name[:80]!r} student can be loaded ({type(error).__name__}: {error})"
        raise damaged(folder, what, REMEDY) from error
    if student.dim != card.dim:
        what = f"its dim is {card.dim}, that of the weights is {student.dim}"
        raise damaged(folder / CARD, what, REMEDY)
    student.module.to(device)
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


def unit_length(embeddings: FloatArray) -> FloatArray:
    """Divide each row of `(n, dim)` by its length; rows of zeros are unchanged.

    Examples:
        >>> unit_length(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32)).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return np.asarray(embeddings / np.maximum(lengths, 1e-12), dtype=np.float32)
