"""Publish: complete a student's run from its files, and register it as challenger exactly once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from polydistill.config.params import Params
from polydistill.contracts import Modality
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import read_corpus
from polydistill.errors import DivergedError, MissingDataError, StoreError
from polydistill.evaluation.scores import Scores, kind_means, mean_score, read_scores
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.mlflow.bundle import register_student
from polydistill.integrations.mlflow.drift_reference import log_reference
from polydistill.integrations.mlflow.evidence import log_evidence
from polydistill.integrations.mlflow.ledger import recorded
from polydistill.integrations.mlflow.stamp import stamp
from polydistill.integrations.mlflow.store import (
    LOCK_TAG,
    STUDENT_TAG,
    connected,
    experiment_id,
    import_mlflow,
    model_name,
)
from polydistill.integrations.mlflow.tracker import log_metrics, log_params, set_tags
from polydistill.project.layout import Layout
from polydistill.registry.promotion import challenge
from polydistill.report.results import read_report
from polydistill.students import weights_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient

LAST_TAG = "files"
"""Set when everything but the model is in the run."""


@dataclass(frozen=True)
class Published:
    """A student in the registry.

    Attributes:
        model: The registered model's name.
        version: The student's version of it.
        created: Whether this call has registered it; otherwise it was there.
        run_id: Its run.
        student_sha256: Of its weights.
        lock_sha256: Of the modality's entries in `dvc.lock`.
        reproducible: Whether `polydistill reproduce` can make it again.
        reasons: Why it cannot.
        detail: What a tool said about that.
    """

    model: str
    version: int
    created: bool
    run_id: str
    student_sha256: str
    lock_sha256: str
    reproducible: bool
    reasons: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class _Student:
    """A student's files."""

    layout: Layout
    distillation: dict[str, Any]
    scores: Scores
    lock: dict[str, Any]

    @property
    def lock_sha256(self) -> str:
        return dvc.lock_digest(self.lock)

    @property
    def sha256(self) -> str:
        return str(self.distillation["student_sha256"])

    @property
    def tags(self) -> dict[str, str]:
        return {STUDENT_TAG: self.sha256, LOCK_TAG: self.lock_sha256}

    @property
    def name(self) -> str:
        return model_name(self.layout.modality)


def publish(root: Path, params: Params, modality: str) -> Published:
    """Register the student of the project as challenger.

    The run is the one that training has logged live, or one made of the files. What identifies a
    student is its weights and its entries in `dvc.lock`: publishing it again finds its version. What a
    rerun needs is attached to it, and its data pushed to DVC's remote; where that is not all there the
    version is marked `reproducible: false`, until it is published again and is.

    Raises:
        MissingDataError: A stage has not run yet.
        StoreError: The files belong to different students.
        DivergedError: Training left the finite numbers.
        LedgerError: The model's ledger was tampered with.
        StageError: The tracking store does not answer.
    """
    student = _read(Layout(root, modality))
    name = student.name
    with connected(root) as client:
        run_id = _find_run(client, student) or _new_run(client, student, params)
        versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
        found = max((int(one.version) for one in versions), default=None)
        version = found or _complete(client, student, params, run_id)
        stamped = stamp(client, root, (name, version), student.lock)  # before its alias moves
        with recorded(root, client, name) as registry:
            challenge(registry, version)
    return Published(
        model=name,
        version=version,
        created=found is None,
        run_id=run_id,
        student_sha256=student.sha256,
        lock_sha256=student.lock_sha256,
        reproducible=stamped.reproducible,
        reasons=stamped.reasons,
        detail=stamped.detail,
    )


def _read(layout: Layout) -> _Student:
    """Read the student's files, and see that they belong together."""
    distillation = read_report(layout.distillation, "distill")
    if distillation["diverged"]:
        raise DivergedError(f"{layout.distillation} says that training diverged: not published.")
    if not (layout.student / "student.json").exists():
        raise MissingDataError(f"No student in {layout.student}: run the distill stage first.")
    found = weights_digest(layout.student)
    if found != distillation["student_sha256"]:
        raise StoreError(
            f"{layout.student} has weights {found[:12]}, {layout.distillation} says "
            f"{distillation['student_sha256'][:12]}: run the distill stage again."
        )
    entries = dvc.lock_entries(layout.root, layout.modality)
    _require_evaluated(layout, entries)
    return _Student(layout, distillation, read_scores(layout.scores), entries)


def _require_evaluated(layout: Layout, entries: dict[str, Any]) -> None:
    """Refuse scores of an older student: publishing is no DVC stage, so nothing else would."""
    path = layout.student.relative_to(layout.root).as_posix()
    made = _hash_of(entries.get(f"distill@{layout.modality}", {}), "outs", path)
    scored = _hash_of(entries.get(f"evaluate@{layout.modality}", {}), "deps", path)
    if made != scored:
        raise StoreError(
            f"{layout.scores} was made of another student than {path}: run the evaluate stage again."
        )


def _hash_of(entry: dict[str, Any], side: str, path: str) -> str | None:
    return next((row["md5"] for row in entry.get(side, ()) if row["path"] == path), None)


def _find_run(client: MlflowClient, student: _Student) -> str | None:
    """Return the student's run: one with both tags, else one that training has left without a lock."""
    experiment = client.get_experiment_by_name(student.layout.modality)
    if experiment is None:
        return None
    runs = client.search_runs(
        [experiment.experiment_id],
        f"tags.{STUDENT_TAG} = '{student.sha256}'",
        order_by=["attributes.start_time DESC"],
    )
    for lock in (student.lock_sha256, None):
        for run in runs:
            if run.data.tags.get(LOCK_TAG) == lock:
                return str(run.info.run_id)
    return None


def _new_run(client: MlflowClient, student: _Student, params: Params) -> str:
    experiment = experiment_id(client, student.layout.root, student.layout.modality)
    run = client.create_run(experiment, tags={"modality": student.layout.modality})
    run_id = str(run.info.run_id)
    log_params(client, run_id, params.model_dump(mode="json"))
    set_tags(client, run_id, student.tags)
    return run_id


def _complete(client: MlflowClient, student: _Student, params: Params, run_id: str) -> int:
    """Log everything to the run, register the model, and return its version."""
    layout = student.layout
    set_tags(client, run_id, student.tags)
    if (
        LAST_TAG not in client.get_run(run_id).data.tags
    ):  # unless an interrupted publish has done it
        _log_history(client, student, run_id)
        log_metrics(client, run_id, {0: _score_metrics(student)})
        _log_data(client, layout.root, run_id, params, layout.modality)
        for path in (layout.distillation, layout.scores, layout.history, layout.predictions):
            client.log_artifact(run_id, str(path))
        client.log_artifacts(run_id, str(layout.heads), "heads")
        log_evidence(client, run_id, params, layout, student.lock)
        log_reference(client, run_id, layout.root, params, layout.modality)
        set_tags(client, run_id, {LAST_TAG: "complete"})
    mlflow = import_mlflow()
    kind: Modality = MODALITIES.get(layout.modality)()
    settings = params.modality(layout.modality).corpus
    corpus = read_corpus(layout.root, settings, kind, with_groups=False)
    example = kind.coerce(corpus[kind.column].iloc[0])
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        return register_student(mlflow, layout.student, kind, example, student.name, student.tags)


def _log_history(client: MlflowClient, student: _Student, run_id: str) -> None:
    """Log what the live run does not have: all of it, or what a store that went down has missed."""
    history = pd.read_parquet(student.layout.history)
    by_step: dict[int, dict[str, float]] = {}
    for (split, teacher), rows in history.groupby(["split", "teacher"], sort=True):
        metric = f"{split}/{teacher}"
        known = {point.step for point in client.get_metric_history(run_id, metric)}
        for step, nats in zip(rows["step"], rows["nats"], strict=True):
            if int(step) not in known:
                by_step.setdefault(int(step), {})[metric] = float(nats)
    log_metrics(client, run_id, by_step)


def _score_metrics(student: _Student) -> dict[str, float]:
    """Return every score by `scores/<model>/<kind>/<task>`, with the means, and the held-out loss."""
    metrics = {
        f"scores/{model}/{kind}/{task}": score
        for model, kinds in student.scores.items()
        for kind, tasks in kinds.items()
        for task, score in tasks.items()
    }
    for model, kinds_mean in kind_means(student.scores, {}).items():
        metrics |= {f"scores/{model}/{kind}": score for kind, score in kinds_mean.items()}
        metrics[f"scores/{model}"] = mean_score(kinds_mean)
    for key in ("held_out_mean", "n_parameters", "best_step"):
        metrics[f"student/{key}"] = float(student.distillation[key])
    return metrics


def _log_data(client: MlflowClient, root: Path, run_id: str, params: Params, modality: str) -> None:
    """Log the data as the run's input: its digest is DVC's hash of `data/`."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    block = params.modality(modality)
    digest = dvc.data_hash(root)
    source = {"file": dvc.DATA_FILE.name, "md5": digest}
    profile = {"corpus_rows": block.corpus.rows or "all", "tasks": len(block.tasks)}
    data = Dataset(
        name=block.corpus.path,
        digest=digest,
        source_type="dvc",
        source=json.dumps(source, sort_keys=True),
        profile=json.dumps(profile, sort_keys=True),
    )
    client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
