"""The files of the heads: weights, the teachers' statistics, and a card. No pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import nn

from polydistill.config.method import MethodParams
from polydistill.config.nodes import Node, Plugin
from polydistill.contracts import FloatArray
from polydistill.errors import DataError, MissingDataError
from polydistill.heads import HEADS
from polydistill.students import weights_digest
from polydistill.training.calibration import Calibration
from polydistill.training.dataset import Targets
from polydistill.training.model import DistillationModel
from polydistill.training.standardise import Standardiser
from polydistill.training.weighting import Weighting

CARD, WEIGHTS = "heads.json", "heads.safetensors"
MEAN, STD, ROTATION, RESIDUAL = "mean", "std", "rotation", "residual"
"""A teacher's statistics: those of its standardiser, and the constant scale, `(teacher_dim,)`, if there is one."""
WEIGHTING = "weighting/"
Statistics = dict[str, dict[str, FloatArray]]
Scale = Literal["predicted", "residual"]


class NoveltyScale(Node):
    """Mean and standard deviation of the mean predicted log scale on held-out rows.

    They are the zero and the unit of the out-of-distribution score, which is stored under the name `novelty`.
    """

    mean: float
    std: float


class HeadsCard(BaseModel):
    """The content of `heads.json`.

    Attributes:
        heads: Plug-in name and options of the heads.
        weighting: Plug-in name and options of the teacher weighting.
        student_dim: Width of the student's embeddings.
        student_sha256: The sha256 of the weights of the student that the heads were trained with.
        teachers: The teachers' names, in the heads' order.
        teacher_dims: Width of each teacher's embeddings.
        identities: Each teacher's `StoredEmbeddings.identity_sha256`; missing in heads that an older version of this
            package wrote.
        scale: `predicted` if the loss trained the heads' scales; `residual` if not, in which case a constant
            scale per dimension, fitted to held-out residuals, replaces them.
        factors: The factor that multiplies each teacher's scale; a teacher without held-out rows has none.
        novelty: The zero and the unit of the out-of-distribution score. None if the scale is constant.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    heads: Plugin
    weighting: Plugin
    student_dim: int
    student_sha256: str
    teachers: tuple[str, ...]
    teacher_dims: dict[str, int]
    identities: dict[str, str] = {}
    scale: Scale
    factors: dict[str, float]
    novelty: NoveltyScale | None


@dataclass(frozen=True)
class HeadsBundle:
    """The heads and the statistics needed to predict teacher embeddings in the teachers' own spaces.

    Attributes:
        card: See `HeadsCard`.
        module: Maps student embeddings to one prediction per teacher, in the teacher's standard deviations.
        statistics: Each teacher's `mean` and `std`, and its `rotation` and `residual` if it has them.
        weighting: The weighting's state at the end of training, written as a record. None after loading.
    """

    card: HeadsCard
    module: nn.Module
    statistics: Statistics
    weighting: nn.Module | None = None


def save_heads(bundle: HeadsBundle, folder: Path) -> None:
    """Write `heads.safetensors` and `heads.json`; the same heads write the same bytes."""
    folder.mkdir(parents=True)
    arrays = {name: t.detach().cpu().numpy() for name, t in bundle.module.state_dict().items()}
    if bundle.weighting is not None:
        state = bundle.weighting.state_dict()
        arrays |= {f"{WEIGHTING}{name}": value.cpu().numpy() for name, value in state.items()}
    for teacher, own in bundle.statistics.items():
        arrays |= {f"{teacher}/{name}": values for name, values in own.items()}
    arrays = {n: np.ascontiguousarray(a).reshape(a.shape) for n, a in arrays.items()}  # 0-d too
    save_file(arrays, folder / WEIGHTS)
    text = bundle.card.model_dump_json(indent=2) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")


def save_calibrated_heads(
    outputs: Path,
    model: DistillationModel,
    block: MethodParams,
    student_dim: int,
    teachers: Mapping[str, tuple[Standardiser, str]],
    calibration: Calibration,
) -> None:
    """Write `outputs/heads`: with the teachers' statistics they predict embeddings as they were.

    Args:
        outputs: Holds `student`, whose weights the heads belong to.
        model: Heads and weighting, trained.
        block: The method.
        student_dim: Width of the student's embeddings.
        teachers: Of each, its standardiser as fitted before training, and whose embeddings they were.
        calibration: Of the heads' scales.
    """
    statistics: Statistics = {}
    for teacher_index, (name, (fitted, _)) in enumerate(teachers.items()):
        settled = model.weighting.settled(teacher_index, fitted)
        statistics[name] = {MEAN: settled.mean, STD: settled.std}
        if settled.rotation is not None:
            statistics[name][ROTATION] = settled.rotation
        if name in calibration.residual:
            statistics[name][RESIDUAL] = calibration.residual[name]
    novelty = calibration.novelty
    card = HeadsCard(
        heads=block.heads,
        weighting=block.weighting,
        student_dim=student_dim,
        student_sha256=weights_digest(outputs / "student"),
        teachers=tuple(teachers),
        teacher_dims={name: len(one.mean) for name, (one, _) in teachers.items()},
        identities={name: identity for name, (_, identity) in teachers.items()},
        scale="predicted" if calibration.scale_is_trained else "residual",
        factors=calibration.factors,
        novelty=novelty and NoveltyScale(mean=novelty[0], std=novelty[1]),
    )
    save_heads(HeadsBundle(card, model.heads, statistics, model.weighting), outputs / "heads")


@torch.no_grad()
def asked_for(
    weighting: Weighting,
    targets: Mapping[str, Targets],
    present: dict[str, torch.Tensor],
    rows: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> dict[str, FloatArray]:
    """Return what each head should predict at `rows`, by teacher, now that training is over."""
    weighting.eval()
    at = torch.from_numpy(rows)
    return {
        name: weighting.rescale(teacher_index, values[at], present[name][at]).numpy()
        for teacher_index, (name, values) in enumerate(targets.items())
    }


def load_heads(folder: Path) -> HeadsBundle:
    """Load what `save_heads` wrote, in eval mode.

    Raises:
        MissingDataError: The folder holds no heads.
        DataError: A file is damaged or from an older version.
    """
    for file in (CARD, WEIGHTS):
        if not (folder / file).exists():
            raise MissingDataError(f"No {file} in {folder}: run the distill stage.")
    try:
        card = HeadsCard.model_validate_json((folder / CARD).read_bytes())
    except ValidationError as error:
        raise _damaged(folder / CARD, error) from error
    try:
        arrays = load_file(folder / WEIGHTS)
        statistics = {teacher: _statistics_of(teacher, card, arrays) for teacher in card.teachers}
        module = _module_of(card, arrays)
    except (SafetensorError, KeyError, RuntimeError, TypeError) as error:
        # torch names a wrong tensor; Python names an option that no longer exists
        raise _damaged(folder / WEIGHTS, error) from error
    return HeadsBundle(card, module.eval(), statistics)


def _statistics_of(
    teacher: str, card: HeadsCard, arrays: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    has_residual = card.scale == "residual" and teacher in card.factors
    needed = {MEAN, STD, RESIDUAL} if has_residual else {MEAN, STD}
    names = needed | {name for name in (ROTATION,) if f"{teacher}/{name}" in arrays}
    return {name: arrays[f"{teacher}/{name}"] for name in sorted(names)}


def _module_of(card: HeadsCard, arrays: Mapping[str, FloatArray]) -> nn.Module:
    dims = {teacher: card.teacher_dims[teacher] for teacher in card.teachers}
    build = HEADS.get(card.heads.name)
    module: nn.Module = build(card.student_dim, dims, torch.Generator(), **card.heads.options)
    module.load_state_dict({n: torch.from_numpy(a) for n, a in arrays.items() if "/" not in n})
    return module


def _damaged(path: Path, error: Exception) -> DataError:
    first = next(iter(str(error).splitlines()), type(error).__name__)
    return DataError(
        f"{path} is damaged or from an older version: {first.rstrip('.:')}. Run the distill stage again."
    )
