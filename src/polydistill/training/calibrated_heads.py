"""Saves the calibrated heads with the statistics that map predictions back to each teacher's space."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from polydistill.config.method import MethodParams
from polydistill.contracts import FloatArray
from polydistill.students import weights_digest
from polydistill.training.calibration import Calibration
from polydistill.training.dataset import Targets
from polydistill.training.heads_bundle import (
    MEAN,
    RESIDUAL,
    ROTATION,
    STD,
    HeadsBundle,
    HeadsCard,
    NoveltyScale,
    save_heads,
)
from polydistill.training.model import DistillationModel
from polydistill.training.standardise import Standardiser
from polydistill.training.weighting import Weighting


def save_calibrated_heads(
    outputs: Path,
    model: DistillationModel,
    block: MethodParams,
    student_dim: int,
    teachers: Mapping[str, tuple[Standardiser, str]],
    calibration: Calibration,
) -> None:
    """Write `outputs/heads`: the heads, their calibration and the teachers' statistics.

    Args:
        outputs: The folder that already holds `student`.
        model: The trained heads and weighting.
        block: The modality's parameters.
        student_dim: Width of the student's embeddings.
        teachers: Each teacher's standardiser, as fitted before training, and the identity of its embeddings.
        calibration: The calibration of the heads' scales.
    """
    statistics = {
        name: _statistics(model.weighting.settled(index, one))
        for index, (name, (one, _)) in enumerate(teachers.items())
    }
    for name, residual in calibration.residual.items():
        statistics[name][RESIDUAL] = residual
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


def _statistics(settled: Standardiser) -> dict[str, FloatArray]:
    found = {MEAN: settled.mean, STD: settled.std}
    return found if settled.rotation is None else {**found, ROTATION: settled.rotation}


@torch.no_grad()
def asked_for(
    weighting: Weighting,
    targets: Mapping[str, Targets],
    present: dict[str, torch.Tensor],
    rows: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> dict[str, FloatArray]:
    """Return the targets of each head at `rows`, by teacher, after training."""
    weighting.eval()
    at = torch.from_numpy(rows)
    return {
        name: weighting.rescale(index, values[at], present[name][at]).numpy()
        for index, (name, values) in enumerate(targets.items())
    }
