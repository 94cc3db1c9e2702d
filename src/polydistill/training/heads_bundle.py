"""The files of the heads: weights, the teachers' statistics, and a card. No pickle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import nn

from polydistill.config.nodes import Plugin
from polydistill.contracts import FloatArray
from polydistill.embeddings.basis import ARRAYS
from polydistill.errors import DataError, MissingDataError, StoreError
from polydistill.heads import HEADS
from polydistill.project.card import damaged, read_card, write_card
from polydistill.project.files import write_atomic
from polydistill.students import REMEDY, weights_digest
from polydistill.training.calibration import NoveltyScale
from polydistill.training.standardise import Standardiser

CARD, WEIGHTS = "heads.json", "heads.safetensors"


class HeadsCard(BaseModel):
    """The content of `heads.json`.

    Attributes:
        heads: Plug-in name and options of the heads.
        weighting: Plug-in name and options of the teacher weighting.
        student_dim: Width of the student's embeddings.
        student_sha256: The sha256 of the weights of the student that the heads were trained with.
        teachers: The teachers' names, in the heads' order.
        teacher_dims: Width of each teacher's embeddings.
        identities: Each teacher's `StoredEmbeddings.identity_sha256`; empty in heads that an older version of this
            package wrote.
        scale: `predicted` if the loss trained the heads' scales. Otherwise `residual`: a constant scale per
            dimension, fitted to held-out residuals, replaces the heads' scales.
        factors: The factor that multiplies each teacher's scale; a teacher without held-out rows has none.
        novelty: Mean and standard deviation that standardise the out-of-distribution score. None if the scale is
            constant.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    heads: Plugin
    weighting: Plugin
    student_dim: int
    student_sha256: str
    teachers: tuple[str, ...]
    teacher_dims: dict[str, int]
    identities: dict[str, str] = {}
    scale: Literal["predicted", "residual"]
    factors: dict[str, float]
    novelty: NoveltyScale | None


@dataclass(frozen=True)
class HeadsBundle:
    """The heads and the statistics needed to predict teacher embeddings in the teachers' own spaces.

    Attributes:
        card: See `HeadsCard`.
        module: Maps student embeddings to one prediction per teacher, in the teacher's standard deviations.
        standardisers: The statistics that map each teacher's embeddings to the targets of its head.
        residual: Each teacher's constant scale, `(teacher_dim,)`. Empty if the loss trained the heads' scales.
        weighting: The weighting's state at the end of training, written as a record. None after loading.
        bases: The `components` and what they have `lost`, see `basis.Basis`, of each teacher whose embeddings are
            stored in fewer dimensions.
    """

    card: HeadsCard
    module: nn.Module
    standardisers: Mapping[str, Standardiser]
    residual: Mapping[str, FloatArray]
    weighting: nn.Module | None = None
    bases: Mapping[str, tuple[FloatArray, FloatArray]] = field(default_factory=dict)


def save_heads(bundle: HeadsBundle, folder: Path) -> None:
    """Write `heads.safetensors` and `heads.json`; equal heads give identical files."""
    folder.mkdir(parents=True)
    tensors = dict(bundle.module.state_dict())
    if bundle.weighting is not None:
        state = bundle.weighting.state_dict()
        tensors |= {f"weighting/{name}": value for name, value in state.items()}
    arrays = {name: value.cpu().numpy() for name, value in tensors.items()}
    for teacher, standardiser in bundle.standardisers.items():
        own = {
            **vars(standardiser),
            "residual": bundle.residual.get(teacher),
            **dict(zip(ARRAYS, bundle.bases.get(teacher, ()), strict=False)),
        }
        arrays |= {f"{teacher}/{name}": value for name, value in own.items() if value is not None}
    arrays = {n: np.ascontiguousarray(a).reshape(a.shape) for n, a in arrays.items()}  # 0-d too
    write_atomic(folder / WEIGHTS, save(arrays))
    write_card(folder / CARD, bundle.card.model_dump(mode="json"))


def load_heads(folder: Path) -> HeadsBundle:
    """Load heads that `save_heads` wrote, in eval mode.

    Raises:
        MissingDataError: The folder holds no heads.
        DataError: A file is damaged or from an older version.
    """
    for file in (CARD, WEIGHTS):
        if not (folder / file).exists():
            raise MissingDataError(f"No {file} in {folder}: run the distill stage.")
    try:
        card = HeadsCard.model_validate(read_card(folder / CARD, REMEDY))
    except ValidationError as error:
        raise _damaged(folder / CARD, error) from error
    try:
        return _assemble(card, load_file(folder / WEIGHTS))
    except (SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # the message from torch names a wrong tensor, the one from Python an option that no longer exists
        raise _damaged(folder / WEIGHTS, error) from error


def load_matching_heads(heads: Path, student: Path) -> HeadsBundle:
    """Load heads and check that they were trained with the student.

    Raises:
        MissingDataError: The heads or the student are missing.
        DataError: The heads are damaged.
        StoreError: The heads were trained with another student.
    """
    bundle, found = load_heads(heads), weights_digest(student)
    if found != bundle.card.student_sha256:
        raise StoreError(
            f"{heads} belongs to a student with weights {bundle.card.student_sha256[:12]}, {student} has "
            f"{found[:12]}: take both from one run of the distill stage."
        )
    return bundle


def _assemble(card: HeadsCard, arrays: Mapping[str, FloatArray]) -> HeadsBundle:
    dims = {teacher: card.teacher_dims[teacher] for teacher in card.teachers}
    build = HEADS.get(card.heads.name)
    module: nn.Module = build(card.student_dim, dims, torch.Generator(), **card.heads.options)
    module.load_state_dict({n: torch.from_numpy(a) for n, a in arrays.items() if "/" not in n})
    standardisers = {
        name: Standardiser(
            arrays[f"{name}/mean"], arrays[f"{name}/std"], arrays.get(f"{name}/rotation")
        )
        for name in card.teachers
    }
    constant = card.factors if card.scale == "residual" else ()
    residual = {name: arrays[f"{name}/residual"] for name in constant}
    bases = {
        name: (arrays[f"{name}/components"], arrays[f"{name}/lost"])
        for name in standardisers
        if f"{name}/components" in arrays
    }
    return HeadsBundle(card, module.eval(), standardisers, residual, bases=bases)


def _damaged(path: Path, error: Exception) -> DataError:
    return damaged(path, error, f"it may be of an older version: {REMEDY}")
