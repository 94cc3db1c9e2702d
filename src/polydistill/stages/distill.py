"""Distil the teachers' embeddings into the student."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from polydistill.config.params import AFTER_THE_SCORES, ModalityParams, Params
from polydistill.contracts import GeometryTerm, Progress, silent
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import read_corpus
from polydistill.embeddings.store import StoredEmbeddings, open_of_corpus, set_aside
from polydistill.heads import HEADS
from polydistill.losses import LOSSES
from polydistill.losses.relational import build_geometry
from polydistill.project.files import put_in_place
from polydistill.project.layout import Layout
from polydistill.stages.calibrated_heads import asked_for, save_calibrated_heads
from polydistill.stages.code import stage_code
from polydistill.students import STUDENTS, encode, weights_digest
from polydistill.training.calibration import (
    calibrate,
    predicted_moments,
    trains_scale,
)
from polydistill.training.dataset import Batches, Targets, held_out_mask, require_both_sides, seeded
from polydistill.training.guard import Restart
from polydistill.training.model import DistillationModel
from polydistill.training.standardise import StandardisedRows, Standardiser
from polydistill.training.tracking import NullTracker, Tracker
from polydistill.training.trainer import TrainingPlan, TrainingResult, train
from polydistill.training.warm_start import Origin, WarmStart, begin, open_origin
from polydistill.training.weighting import WEIGHTINGS, Weighting


@dataclass(frozen=True)
class DistillReport:
    """What `reports/<modality>/distill.json` holds.

    Attributes:
        student: The student's registry name.
        student_sha256: Of its weights: what identifies it.
        undistilled_sha256: Of its weights before the first step.
        n_parameters: Of the student, without heads.
        dim: Width of its embeddings.
        n_train: Rows trained on.
        n_held_out: Rows held out.
        steps: Optimiser steps.
        best_step: Where the held-out loss was least: the weights that were kept.
        held_out: Each teacher's held-out loss there (nats per dimension, for the NLL).
        held_out_mean: Their mean.
        coverage_90: Each teacher's share of held-out values inside the heads' central 90 % interval, as
            calibrated on one half of the held-out groups and measured on the other.
        coverage_90_before: The same before calibration.
        warm_start: What the run went on from; none: from scratch.
        restarts: How often the divergence guard went back to the last good state, and why.
        diverged: Whether it gave up; such a run raises, and is never published.
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


def distill(
    root: Path,
    params: Params,
    modality: str,
    *,
    tracker: Tracker | None = None,
    progress: Progress = silent,
) -> DistillReport:
    """Train the student, and write its bundle, the heads, the history and the report.

    An unfinished run of the same parameters and inputs is gone on with. With `warm_start` student and heads
    begin as those of an earlier version; the heads of new teachers learn first, then the student with them and with
    the means of known teachers. See `warm_start.HoldHeads`.

    Raises:
        DataError: No row is held out, or none is left to train on.
        MissingDataError: The version to go on from is not there.
        ParamsError: This run cannot go on from it: see `version.require_fit`.
        StoreError: Embeddings are missing, damaged, or of other rows than the corpus.
        DivergedError: See `trainer.train`.
    """
    tracker = tracker or NullTracker()
    layout, block = Layout(root, modality), params.modality(modality)
    kind = MODALITIES.get(modality)()
    corpus = read_corpus(root, block.corpus, kind)
    held_out = held_out_mask(corpus["group"].tolist(), block.corpus.held_out)
    require_both_sides(held_out, block.corpus.held_out)
    examples = corpus[kind.column].tolist()
    active = params.active_teachers(modality)
    for folder, target in layout.switched_off("corpus", active):
        set_aside(folder, target)
    stored = open_of_corpus(layout.corpus_embeddings(active), corpus["id"].tolist())
    torch.set_num_threads(params.threads)
    weighting = WEIGHTINGS.get(block.weighting.name)(len(stored), **block.weighting.options)
    rows_held_out = np.flatnonzero(held_out)
    dims = {name: embeddings.dim for name, embeddings in stored.items()}
    identities = {name: embeddings.identity_sha256 for name, embeddings in stored.items()}
    origin = None
    if (named := block.warm_start.sha256) is not None:
        origin = open_origin(layout.adopted(named), block, dims, identities)
    targets, present, standardisers = standardised_targets(stored, ~held_out, weighting, origin)
    generator = torch.Generator().manual_seed(int(seeded(params.seed, "weights").integers(2**63)))
    student = STUDENTS.get(block.student.name).build(
        examples, generator, params.threads, **block.student.options
    )
    work = _work_folder(layout, params, stored, corpus["group"].tolist())
    outputs = work / "outputs"
    shutil.rmtree(outputs, ignore_errors=True)
    student.save(outputs / "undistilled")
    heads = HEADS.get(block.heads.name)(student.dim, dims, generator, **block.heads.options)
    start = begin(origin, block, student, heads, examples)
    loss = partial(LOSSES.get(block.loss.name), **block.loss.options)
    model = DistillationModel(
        student,
        heads,
        loss,
        _geometry(block, student.dim, list(dims.values())),
        block.geometry_weight,
        weighting,
        loss_weight=block.loss_weight,
    )
    plan = TrainingPlan(
        start.training,
        params.seed,
        params.precision,
        tuple(stored),
        work / "checkpoints",
        start.learning,
        by_geometry=block.loss_weight == 0,
    )
    tracker.log_params(params.model_dump(mode="json"))
    result = train(
        model,
        Batches(examples, student.collate, targets, present),
        (np.flatnonzero(~held_out), rows_held_out),
        plan,
        tracker=tracker,
        progress=progress,
    )
    student.save(outputs / "student")
    calibration = calibrate(
        predicted_moments(heads, encode(student, [examples[row] for row in rows_held_out])),
        asked_for(weighting, targets, present, rows_held_out),
        {name: values[rows_held_out].numpy() for name, values in present.items()},
        corpus["group"].iloc[rows_held_out].tolist(),
        scale_is_trained=block.loss_weight > 0 and trains_scale(loss),
    )
    teachers = {name: (one, identities[name]) for name, one in standardisers.items()}
    save_calibrated_heads(outputs, model, block, student.dim, teachers, calibration)
    best = {
        entry["teacher"]: round(entry["nats"], 6)
        for entry in result.history
        if entry["split"] == "held-out" and entry["step"] == result.best_step
    }
    report = DistillReport(
        student=block.student.name,
        student_sha256=weights_digest(outputs / "student"),
        undistilled_sha256=weights_digest(outputs / "undistilled"),
        n_parameters=sum(weight.numel() for weight in student.module.parameters()),
        dim=student.dim,
        n_train=int((~held_out).sum()),
        n_held_out=int(held_out.sum()),
        steps=result.steps,
        best_step=result.best_step,
        held_out=best,
        held_out_mean=round(sum(best.values()) / len(best), 6),
        warm_start=start.report,
        restarts=result.restarts,
        coverage_90=_rounded(calibration.coverage_after),
        coverage_90_before=_rounded(calibration.coverage_before),
    )
    _publish_outputs(layout, outputs, result, report)
    shutil.rmtree(work)
    tracker.set_tags({"student_sha256": report.student_sha256})
    tracker.close()
    return report


def standardised_targets(
    stored: dict[str, StoredEmbeddings],
    trained: np.ndarray[tuple[int], np.dtype[np.bool_]],
    weighting: Weighting,
    origin: Origin | None = None,
) -> tuple[dict[str, Targets], dict[str, torch.Tensor], dict[str, Standardiser]]:
    """Standardise each teacher by the rows that are trained on, or as the head that it has already does.

    The embeddings stay on disk, mapped into memory; a batch's rows are standardised when they are wanted.
    """
    targets: dict[str, Targets] = {}
    present, standardisers = {}, {}
    known = {} if origin is None else origin.standardisers
    for place, (name, embeddings) in enumerate(stored.items()):
        if name in known:
            standardiser = weighting.resume(place, known[name])
        else:
            values = embeddings.take(np.arange(len(embeddings))).values
            standardiser = weighting.fit(values, trained & embeddings.present)
            del values  # as many bytes as a whole training needs
        targets[name] = StandardisedRows(embeddings, standardiser)
        present[name] = torch.from_numpy(embeddings.present.copy())
        standardisers[name] = standardiser
    return targets, present, standardisers


def _geometry(
    block: ModalityParams, student_dim: int, teacher_dims: list[int]
) -> GeometryTerm | None:
    if block.geometry is None:
        return None
    return build_geometry(block.geometry.name, block.geometry.options, student_dim, teacher_dims)


def _work_folder(
    layout: Layout, params: Params, stored: dict[str, StoredEmbeddings], groups: list[str]
) -> Path:
    """Name the folder of unfinished work after everything that the result depends on, our code too."""
    block = params.modality(layout.modality)
    inputs = {name: [e.identity, hashlib.sha256("".join(e.ids).encode()).hexdigest()]
              for name, e in stored.items()}  # fmt: skip
    settings = block.model_dump(
        mode="json", exclude={*AFTER_THE_SCORES, "tasks", "evaluation", "teachers"}
    )
    split = hashlib.sha256("\n".join(map(str, groups)).encode()).hexdigest()
    code = stage_code(["distill"], [params], layout.modality)
    content = [params.seed, params.threads, params.precision, settings, inputs, split, code]
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    return layout.work("distill", f"{layout.modality}-{key}")


def _rounded(by_teacher: dict[str, float]) -> dict[str, float]:
    return {teacher: round(value, 6) for teacher, value in by_teacher.items()}


def _publish_outputs(
    layout: Layout, outputs: Path, result: TrainingResult, report: DistillReport
) -> None:
    """Put everything in place, the report last."""
    history = pd.DataFrame(result.history)
    history.to_parquet(outputs / "history.parquet", index=False)
    curve = history[history["split"] == "held-out"].pivot(
        index="step", columns="teacher", values="nats"
    )
    curve.insert(0, "mean", curve.mean(axis=1))
    curve.round(6).to_csv(outputs / "history.csv")
    text = json.dumps(asdict(report), indent=1, sort_keys=True) + "\n"
    (outputs / "distill.json").write_text(text, encoding="utf-8")
    for made, final in (
        ("student", layout.student),
        ("undistilled", layout.undistilled),
        ("heads", layout.heads),
        ("history.parquet", layout.history),
        ("history.csv", layout.reports / "history.csv"),
        ("distill.json", layout.distillation),
    ):
        put_in_place(outputs / made, final)
