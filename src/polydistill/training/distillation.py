"""Distillation: trains a student with calibrated heads on examples and stored teacher embeddings."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from polydistill.config.device import device_for
from polydistill.config.environment import use_threads
from polydistill.config.training import MethodParams
from polydistill.contracts import Example, FittedGeometry, Progress, Student, Tracker, silent
from polydistill.embeddings.store import StoredEmbeddings, require_usable
from polydistill.errors import DataError
from polydistill.heads import HEADS
from polydistill.losses import LOSSES
from polydistill.losses.relational import build_geometry
from polydistill.students import STUDENTS, encode, weights_digest
from polydistill.training import processes
from polydistill.training.calibration import Calibration, calibrate, predicted_moments, trains_scale
from polydistill.training.dataset import Batches, seeded
from polydistill.training.guard import Restart
from polydistill.training.heads_bundle import HeadsBundle, HeadsCard, save_heads
from polydistill.training.model import DistillationModel
from polydistill.training.standardise import StandardisedRows, Standardiser
from polydistill.training.trainer import TrainingPlan, TrainingResult, train
from polydistill.training.warm_start import WarmStart, begin, open_origin
from polydistill.training.weighting import WEIGHTINGS, Weighting

STUDENT, UNDISTILLED, HEADS_FOLDER = "student", "undistilled", "heads"
CALIBRATED = 20_000
"""The maximum number of held-out rows for the calibration, whose predictions are all in memory."""
FITTED_ROWS = 16_384
"""The maximum number of training rows to which a relational term is fitted."""
HISTORY, CURVE, REPORT = "history.parquet", "history.csv", "distill.json"


@dataclass(frozen=True)
class Corpus:
    """The examples that a student is trained on.

    Attributes:
        examples: One per row.
        groups: The group of each row, `(n_rows,)`. Rows of one group are on the same side of every split.
        held_out: `(n_rows,)`, bool: rows used only to select the best weights and to calibrate.
    """

    examples: Sequence[Example]
    groups: Sequence[str]
    held_out: NDArray[np.bool_]


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run that are not part of its method.

    Attributes:
        seed: Seed of the initial weights, the order of examples and all other random draws.
        threads: Number of torch's threads, which affects the rounding of floating-point sums.
        precision: Precision of training, `float32`, `bfloat16` or `float16`.
        device: Where the student is trained; see `device.device_for`.
    """

    seed: int = 0
    threads: int = 2
    precision: str = "float32"
    device: str = "auto"


@dataclass(frozen=True)
class DistillReport:
    """The content of `reports/<modality>/distill.json`.

    Attributes:
        student: The student's plug-in name.
        student_sha256: The sha256 of the student's weights, which identifies the student.
        undistilled_sha256: The sha256 of the student's weights before the first step.
        n_parameters: Number of parameters of the student, without heads.
        dim: Width of the student's embeddings.
        n_train: Number of training rows.
        n_held_out: Number of held-out rows.
        steps: Number of optimiser steps.
        best_step: The step with the lowest held-out objective (the weighted sum of the losses), whose weights were kept.
        held_out: The held-out loss at that step of each teacher that has held-out rows; for the NLL, in nats per
            dimension.
        held_out_mean: The mean of `held_out`.
        coverage_90: Each teacher's share of held-out values inside the heads' central 90 % interval, calibrated
            on one half of the held-out groups and measured on the other.
        coverage_90_before: The same share before calibration.
        warm_start: The version that the run started from. None: it started from scratch.
        restarts: The restarts by the divergence guard, with their reasons.
        diverged: Whether the guard gave up. Such a run raises an error and is never published.
    """

    student: str
    student_sha256: str
    undistilled_sha256: str
    n_parameters: int
    dim: int
    n_train: int
    n_held_out: int
    steps: int
    best_step: int
    held_out: dict[str, float]
    held_out_mean: float
    coverage_90: dict[str, float]
    coverage_90_before: dict[str, float]
    warm_start: WarmStart | None = None
    restarts: tuple[Restart, ...] = ()
    diverged: bool = False


def distill_student(  # noqa: PLR0913  the core's single entry point
    corpus: Corpus,
    stored: Mapping[str, StoredEmbeddings],
    method: MethodParams,
    run: RunSettings,
    work: Path,
    *,
    origin: Path | None = None,
    tracker: Tracker | None = None,
    progress: Progress = silent,
) -> DistillReport:
    """Train a student and write its bundle, the heads, the history and the report to `work/outputs`.

    If the environment describes a process group, each process trains on its share of every batch, and the first one
    writes the outputs. An unfinished run in `work` is resumed, also with another number of processes. With `origin`, the student and the heads start with the weights
    of an earlier version. At first only the heads of new teachers are trained, then also the student and the means of
    known teachers; see `warm_start.HoldHeads`.

    Args:
        corpus: Examples, groups and split.
        stored: Each teacher's embeddings of the corpus rows, in order.
        method: Student, heads, losses, weighting and training.
        run: Seed, threads, precision and device.
        work: The run's own folder, for checkpoints and `outputs`.
        origin: The folder of the version that `method.warm_start` names. None: start from scratch.
        tracker: Called after each evaluation.
        progress: Called after each evaluation.

    Raises:
        DataError: A teacher has no training row or the same embedding for all of them, or no held-out row is embedded.
        MissingDataError: The earlier version does not exist.
        ParamsError: This run cannot start from that version; see `warm_start.open_origin`.
        DivergedError: See `trainer.train`.
    """
    for one in stored.values():
        require_usable(one, ~corpus.held_out, "training rows")
    if not any((one.present & corpus.held_out).any() for one in stored.values()):
        raise DataError("No held-out row has an embedding of any teacher: raise corpus.held_out.")
    use_threads(run.threads)
    device = processes.join(device_for(run.device))
    is_first = processes.rank() == 0
    outputs, checkpoints = work / "outputs", work / "checkpoints"
    if not is_first:  # it computes the same outputs, which nobody reads
        outputs, tracker, progress = work / f"process-{processes.rank()}", None, silent
    shutil.rmtree(outputs, ignore_errors=True)
    earlier = None if origin is None else open_origin(origin, method, stored)
    dims = {name: embeddings.dim for name, embeddings in stored.items()}
    student, model = _build(corpus, dims, method, run)
    known = earlier.version.heads.standardisers if earlier else {}
    targets = standardised_targets(stored, ~corpus.held_out, model.weighting, known)
    present = {name: torch.from_numpy(one.present.copy()) for name, one in stored.items()}
    student.save(outputs / UNDISTILLED)
    plan = TrainingPlan(
        earlier.training if earlier else method.training,
        run.seed,
        run.precision,
        tuple(stored),
        checkpoints,
        tracker or Tracker(),
        progress,
        begin(earlier, student, model.heads, corpus.examples) if earlier else None,
        device=device,
        loss_weight=method.loss_weight,
        geometry_weight=method.geometry_weight if model.geometry is not None else 0.0,
    )
    batches = Batches(corpus.examples, student.collate, targets, present, method.training.perturb)
    rows = np.flatnonzero(~corpus.held_out), np.flatnonzero(corpus.held_out)
    _fit_geometry(model, student, corpus, batches, run.seed)
    result = train(model, batches, rows, plan)
    model.to("cpu")
    student.save(outputs / STUDENT)
    scale_is_trained = method.loss_weight > 0 and trains_scale(model.loss)
    calibration = _calibrate(
        corpus, student, model, batches, run.seed, scale_is_trained=scale_is_trained
    )
    card = HeadsCard(
        heads=method.heads,
        weighting=method.weighting,
        student_dim=student.dim,
        student_sha256=weights_digest(outputs / STUDENT),
        teachers=tuple(stored),
        teacher_dims=dims,
        identities={name: embeddings.identity_sha256 for name, embeddings in stored.items()},
        scale="predicted" if scale_is_trained else "residual",
        factors=calibration.factors,
        novelty=calibration.novelty,
    )
    settled = {
        name: model.weighting.settled(teacher_index, rows.standardiser)
        for teacher_index, (name, rows) in enumerate(targets.items())
    }
    bases = {
        name: (one.basis.components, one.basis.lost) for name, one in stored.items() if one.basis
    }
    bundle = HeadsBundle(card, model.heads, settled, calibration.residual, model.weighting, bases)
    save_heads(bundle, outputs / HEADS_FOLDER)
    best = {
        entry["teacher"]: round(entry["nats"], 6)
        for entry in result.history
        if entry["split"] == "held-out" and entry["step"] == result.best_step
    }
    report = DistillReport(
        student=method.student.name,
        student_sha256=card.student_sha256,
        undistilled_sha256=weights_digest(outputs / UNDISTILLED),
        n_parameters=sum(weight.numel() for weight in student.module.parameters()),
        dim=student.dim,
        n_train=len(rows[0]),
        n_held_out=len(rows[1]),
        steps=result.steps,
        best_step=result.best_step,
        held_out=best,
        held_out_mean=round(sum(best.values()) / len(best), 6),
        warm_start=earlier.report if earlier else None,
        restarts=result.restarts,
        coverage_90={name: round(share, 6) for name, share in calibration.coverage_after.items()},
        coverage_90_before={
            name: round(share, 6) for name, share in calibration.coverage_before.items()
        },
    )
    _write_report(outputs, result, report)
    if not is_first:
        shutil.rmtree(outputs)
    processes.wait()
    if is_first:
        shutil.rmtree(checkpoints, ignore_errors=True)
    return report


def standardised_targets(
    stored: Mapping[str, StoredEmbeddings],
    trained: NDArray[np.bool_],
    weighting: Weighting,
    known: Mapping[str, Standardiser],
) -> dict[str, StandardisedRows]:
    """Return each teacher's targets, which are read from disk and standardised batch by batch.

    A teacher in `known` has a trained head and keeps the statistics of that head; the other statistics are fitted to
    the training rows.
    """
    targets = {}
    for teacher_index, (name, embeddings) in enumerate(stored.items()):
        if name in known:
            standardiser = weighting.resume(teacher_index, known[name])
        else:
            standardiser = weighting.fit(embeddings, trained & embeddings.present)
        targets[name] = StandardisedRows(embeddings, standardiser)
    return targets


def _build(
    corpus: Corpus, dims: Mapping[str, int], method: MethodParams, run: RunSettings
) -> tuple[Student, DistillationModel]:
    """Return an untrained student, and its model with new heads; `dims` are the widths of the teachers."""
    generator = torch.Generator().manual_seed(int(seeded(run.seed, "weights").integers(2**63)))
    student: Student = STUDENTS.get(method.student.name).build(
        corpus.examples, generator, **method.student.options
    )
    geometry = None
    if (term := method.geometry) is not None:
        geometry = build_geometry(term.name, term.options, student.dim, list(dims.values()))
    return student, DistillationModel(
        student,
        HEADS.get(method.heads.name)(student.dim, dims, generator, **method.heads.options),
        partial(LOSSES.get(method.loss.name), **method.loss.options),
        geometry,
        method.geometry_weight,
        WEIGHTINGS.get(method.weighting.name)(len(dims), **method.weighting.options),
        loss_weight=method.loss_weight,
    )


def _fit_geometry(
    model: DistillationModel, student: Student, corpus: Corpus, batches: Batches, seed: int
) -> None:
    """Fit the relational term, if it is of a kind that is fitted, to some training rows."""
    term: object = model.geometry
    if not isinstance(term, FittedGeometry):
        return
    trained = np.flatnonzero(~corpus.held_out)
    drawn = seeded(seed, "rows of the relational term").permutation(trained)[:FITTED_ROWS]
    rows = np.sort(drawn).tolist()
    embeddings = encode(student, [corpus.examples[row] for row in rows])
    targets, masks = _known(model, batches, rows)
    term.fit(torch.from_numpy(embeddings), [*targets.values()], [*masks.values()])


def _known(
    model: DistillationModel, batches: Batches, rows: Sequence[int]
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the embeddings that the heads should predict, and the masks, by teacher."""
    known = batches.targets_of(rows)
    model.weighting.eval()
    with torch.no_grad():
        return model.rescaled(**known), known["masks"]


def _calibrate(
    corpus: Corpus,
    student: Student,
    model: DistillationModel,
    batches: Batches,
    seed: int,
    *,
    scale_is_trained: bool,
) -> Calibration:
    held_out = np.flatnonzero(corpus.held_out)
    if len(held_out) > CALIBRATED:
        held_out = np.sort(seeded(seed, "rows of calibration").permutation(held_out)[:CALIBRATED])
    rows = held_out.tolist()
    embeddings = encode(student, [corpus.examples[row] for row in rows])
    targets, masks = _known(model, batches, rows)
    return calibrate(
        predicted_moments(model.heads, embeddings),
        {name: values.numpy() for name, values in targets.items()},
        {name: mask.numpy() for name, mask in masks.items()},
        [corpus.groups[row] for row in rows],
        scale_is_trained=scale_is_trained,
    )


def _write_report(outputs: Path, result: TrainingResult, report: DistillReport) -> None:
    history = pd.DataFrame(result.history)
    history.to_parquet(outputs / HISTORY, index=False)
    curve = history[history["split"] == "held-out"].pivot(
        index="step", columns="teacher", values="nats"
    )
    curve.insert(0, "mean", curve.mean(axis=1))
    curve.round(6).to_csv(outputs / CURVE)
    text = json.dumps(asdict(report), indent=1, sort_keys=True) + "\n"
    (outputs / REPORT).write_text(text, encoding="utf-8")
