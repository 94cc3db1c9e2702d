"""Publish a student: log its files to its run, and register it as challenger exactly once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd

from polydistill.config.params import Params
from polydistill.contracts import Modality
from polydistill.data.corpora import open_corpus
from polydistill.data.modalities import MODALITIES
from polydistill.errors import DivergedError, MissingDataError, StoreError
from polydistill.evaluation.statistics.kinds import Scores, kind_means
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.mlflow import store, tracker
from polydistill.integrations.mlflow.bundle import register_student
from polydistill.integrations.mlflow.ledger import recorded
from polydistill.integrations.mlflow.registry import DRIFT_FOLDER, GATE_FOLDER
from polydistill.integrations.mlflow.stamp import stamp
from polydistill.project.layout import Layout
from polydistill.project.lock import held
from polydistill.project.reports import read_report
from polydistill.registry.promotion import challenge
from polydistill.registry.publication import hashes, require_outputs, write_evidence
from polydistill.stages.drift import make_reference, save_reference
from polydistill.students import load_student, weights_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK_WAIT_S = 600.0
"""Seconds for which a publication waits for another one of the same project."""
LAST_TAG = "files"
"""Tag of a run to which everything except the model has been logged."""


@dataclass(frozen=True)
class Published:
    """A published student.

    Attributes:
        model: The name of the registered model.
        version: The student's version.
        created: Whether this call registered the version.
        run_id: The id of the student's run.
        student_sha256: The sha256 of the student's weights.
        lock_sha256: The sha256 of the modality's entries in `dvc.lock`.
        reproducible: Whether `polydistill reproduce` can reproduce the student.
        reasons: The reasons why the student cannot be reproduced.
        detail: The output of DVC, if the push of the data failed.
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
    """A student's files, and the tags that identify it."""

    layout: Layout
    distillation: dict[str, Any]
    scores: Scores
    lock: dict[str, Any]
    tags: Mapping[str, str]


def publish(root: Path, params: Params, modality: str) -> Published:
    """Register the student of the project as challenger.

    The student's run is the run that training logged to, or a new run that is created from the files. A student is
    identified by its weights and its entries in `dvc.lock`, so that publishing it again finds the existing version. The
    files that reproducing the student requires are attached to the run, and its data is pushed to DVC's remote. If
    something is missing, the version has the tag `reproducible: false` until it is published again.

    Raises:
        MissingDataError: A stage has not run yet.
        StoreError: The files belong to different students, or one is not the output that `dvc.lock` records.
        DivergedError: Training diverged.
        LedgerError: The model's ledger was tampered with.
        StageError: The tracking store does not answer.
    """
    student, name = _read(Layout(root, modality)), store.model_name(modality)
    lock = student.layout.scratch / f"publish-{modality}.lock"
    advice = "Wait for it to end."
    with (
        store.connected(root) as client,
        held(lock, "publish", f"Publishing {name}", wait_s=LOCK_WAIT_S, advice=advice),
    ):
        run_id = _find_run(client, student)
        if run_id is None:
            experiment = store.experiment_id(client, root, modality)
            run = client.create_run(experiment, tags={"modality": modality})
            run_id = str(run.info.run_id)
            tracker.log_params(client, run_id, params.of_modality(modality))
            tracker.set_tags(client, run_id, student.tags)
        versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
        found = max((int(one.version) for one in versions), default=None)
        version = found or _complete(client, student, params, run_id)
        stamped = stamp(client, root, (name, version), student.lock)  # before the alias is moved
        with recorded(root, client, name) as registry:
            challenge(registry, version)
    return Published(
        model=name,
        version=version,
        created=found is None,
        run_id=run_id,
        **student.tags,
        reproducible=stamped.reproducible,
        reasons=stamped.reasons,
        detail=stamped.detail,
    )


def _read(layout: Layout) -> _Student:
    """Read the student's files, and check that they belong together."""
    distillation = read_report(layout.distillation, "distill")
    if distillation["diverged"]:
        raise DivergedError(f"{layout.distillation} says that training diverged: not published.")
    if not (layout.student / "student.json").exists():
        raise MissingDataError(f"No student in {layout.student}: run the distill stage first.")
    found, sha256 = weights_digest(layout.student), str(distillation["student_sha256"])
    if found != sha256:
        raise StoreError(
            f"{layout.student} has weights {found[:12]}, {layout.distillation} says {sha256[:12]}: "
            "run the distill stage again."
        )
    lock = dvc.lock_entries(layout.root, layout.modality)
    path = layout.student.relative_to(layout.root).as_posix()
    made = hashes(lock, f"distill@{layout.modality}", "outs").get(path)
    if made != hashes(lock, f"evaluate@{layout.modality}", "deps").get(path):
        raise StoreError(
            f"{layout.scores} was made of another student than {path}: run the evaluate stage again."
        )
    require_outputs(layout.root, lock, layout.modality)
    tags = {store.STUDENT_TAG: sha256, store.LOCK_TAG: dvc.lock_digest(lock)}
    return _Student(layout, distillation, read_report(layout.scores, "evaluate"), lock, tags)


def _find_run(client: MlflowClient, student: _Student) -> str | None:
    """Return the student's run: a run with both tags, else the run of its training, which has no lock tag."""
    experiment = client.get_experiment_by_name(student.layout.modality)
    if experiment is None:
        return None
    runs = client.search_runs(
        [experiment.experiment_id],
        f"tags.{store.STUDENT_TAG} = '{student.tags[store.STUDENT_TAG]}'",
        order_by=["attributes.start_time DESC"],
    )
    by_lock = {run.data.tags.get(store.LOCK_TAG): str(run.info.run_id) for run in reversed(runs)}
    return by_lock.get(student.tags[store.LOCK_TAG]) or by_lock.get(None)


def _complete(client: MlflowClient, student: _Student, params: Params, run_id: str) -> int:
    """Log the files, metrics and data to the run, register the model, and return its version."""
    layout = student.layout
    tracker.set_tags(client, run_id, student.tags)
    if LAST_TAG not in client.get_run(run_id).data.tags:  # an interrupted publish may have set it
        _log_history(client, layout, run_id)
        tracker.log_metrics(client, run_id, {0: _score_metrics(student)})
        _log_data(client, layout.root, run_id, params, layout.modality)
        for path in (layout.distillation, layout.scores, layout.history, layout.predictions):
            client.log_artifact(run_id, str(path))
        client.log_artifacts(run_id, str(layout.heads), "heads")
        with TemporaryDirectory() as folder:
            write_evidence(Path(folder), params, layout, student.lock)
            client.log_artifacts(run_id, folder, GATE_FOLDER)
        with TemporaryDirectory() as folder:
            student_now = load_student(layout.student)
            reference = make_reference(layout.root, params, layout.modality, student_now)
            save_reference(reference, Path(folder))
            client.log_artifacts(run_id, folder, DRIFT_FOLDER)
        tracker.set_tags(client, run_id, {LAST_TAG: "complete"})
    mlflow = store.import_mlflow()
    kind: Modality = MODALITIES.get(layout.modality)()
    settings = params.modality(layout.modality).corpus
    corpus = open_corpus(layout.corpus, settings, kind)
    example, name = kind.coerce(corpus.examples[0]), store.model_name(layout.modality)
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        return register_student(mlflow, layout.student, kind, example, name, student.tags)


def _log_history(client: MlflowClient, layout: Layout, run_id: str) -> None:
    """Log the points of the training history that are missing in the run."""
    by_step: dict[int, dict[str, float]] = {}
    groups = pd.read_parquet(layout.history).groupby(["split", "teacher"], sort=True)
    for (split, teacher), rows in groups:
        metric = f"{str(split).replace('-', '_')}/{teacher}"  # the name of the live metric
        known = {point.step for point in client.get_metric_history(run_id, metric)}
        for step, nats in zip(rows["step"], rows["nats"], strict=True):
            if int(step) not in known:
                by_step.setdefault(int(step), {})[metric] = float(nats)
    tracker.log_metrics(client, run_id, by_step)


def _score_metrics(student: _Student) -> dict[str, float]:
    """Return the scores as `scores/<model>/<kind>/<task>`, their means, and metrics of the training."""
    flat = pd.json_normalize({"scores": student.scores}, sep="/").iloc[0]
    metrics = {str(name): float(score) for name, score in flat.items()}
    for model, kinds_mean in kind_means(student.scores).items():
        metrics |= {f"scores/{model}/{kind}": score for kind, score in kinds_mean.items()}
        metrics[f"scores/{model}"] = fmean(kinds_mean.values())
    for key in ("held_out_mean", "n_parameters", "best_step"):
        metrics[f"student/{key}"] = float(student.distillation[key])
    return metrics


def _log_data(client: MlflowClient, root: Path, run_id: str, params: Params, modality: str) -> None:
    """Log the data as a dataset input of the run, with DVC's hash of `data/` as its digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    block, digest = params.modality(modality), dvc.data_hash(root)
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
