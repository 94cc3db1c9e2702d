"""Garbage collection: finds and removes unused versions and runs of the registry, and unused files of the project."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polydistill.errors import MissingDataError
from polydistill.integrations.dvc.stages import lock_digest, lock_entries
from polydistill.integrations.garbage import HOUR, Garbage, Kind, find_files, remove_files, size_of
from polydistill.integrations.mlflow import store
from polydistill.integrations.mlflow.ledger import MlflowLedger
from polydistill.project.layout import Layout
from polydistill.project.reports import read_report
from polydistill.registry.ledger import Entry, was_champion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

IN_REGISTRY = ("version", "run", "bundle")


@dataclass(frozen=True)
class Sweep:
    """The result of a garbage collection.

    Attributes:
        garbage: The unused items.
        size_bytes: The total size of the items on the local disk.
        removed: Whether the items were removed.
    """

    garbage: tuple[Garbage, ...]
    size_bytes: int
    removed: bool


def sweep(
    root: Path, modalities: Sequence[str], limits: tuple[float, int], *, remove: bool
) -> Sweep:
    """List unused items of the registry and the project, and optionally remove them.

    Args:
        root: The project folder.
        modalities: Names of modalities in `params.yaml`.
        limits: The minimum age of removed items in hours, and the number of newest versions that are kept.
        remove: Whether to remove the listed items.

    Raises:
        LedgerError: A ledger was tampered with.
        StageError: The tracking store does not answer.
    """
    root, (older_than_h, keep_versions) = root.resolve(), limits
    found: dict[tuple[str, str], Garbage] = {}
    for modality in modalities:
        listed = find_files(root, modality, older_than_h)
        if store.has_store(root):
            listed += find_in_registry(root, modality, older_than_h, keep_versions)
        found |= {(one.kind, one.what): one for one in listed}
    if remove:
        for one in found.values():
            (remove_in_registry if one.kind in IN_REGISTRY else remove_files)(root, one)
    total = sum(one.size_bytes for one in found.values())
    return Sweep(tuple(found.values()), total, remove)


def find_in_registry(
    root: Path, modality: str, older_than_h: float, keep_versions: int
) -> list[Garbage]:
    """List unused versions, and runs and bundles that belong to no version.

    A version is in use if an alias or the project's `dvc.lock` names it, or if it was champion according to the ledger.
    Items that were created in the last `older_than_h` hours are not listed. Without a ledger, no version is listed.

    Args:
        root: The project folder.
        modality: The name of a modality in `params.yaml`.
        older_than_h: Minimum age of listed items, in hours.
        keep_versions: The number of newest versions that are never listed.

    Raises:
        LedgerError: The ledger was tampered with.
        StageError: The tracking store does not answer.
    """
    name = store.model_name(modality)
    limit = (time.time() - older_than_h * HOUR) * 1000
    with store.connected(root) as client:
        entries = MlflowLedger(root, client, name).read().entries
        versions = store.import_mlflow().search_model_versions(filter_string=f"name = '{name}'")
        versions.sort(key=lambda one: -int(one.version))
        needed = {int(one.version) for one in versions[:keep_versions]}
        needed |= _named(root, client, modality, versions, entries)
        champion_runs = {entry.ids.run_id for entry in entries if entry.ids.version in needed}
        gone = [
            one
            for one in versions
            if entries
            and int(one.version) not in needed
            and one.run_id not in champion_runs
            and one.creation_timestamp < limit
        ]
        staying = [one for one in versions if one not in gone]
        ids = {str(one.run_id) for one in staying} | {str(one) for one in champion_runs}
        ids |= {str(one.model_id or str(one.source).rpartition("/")[2]) for one in staying}
        why = "never champion, and no alias or lock names it"
        found = [Garbage("version", f"{name}/{one.version}", why, 0) for one in gone]
        found += _of_no_version(root, client, modality, ids, limit)
    return found


def _named(
    root: Path,
    client: MlflowClient,
    modality: str,
    versions: Sequence[ModelVersion],
    entries: Sequence[Entry],
) -> set[int]:
    """Return the versions that an alias or the project's `dvc.lock` names, or that were champion."""
    model = store.registered_model(client, store.model_name(modality))
    named = set() if model is None else {int(one) for one in model.aliases.values()}
    moved = {one for entry in entries for move in entry.moves.values() for one in move if one}
    named |= {version for version in moved if was_champion(entries, version)}
    try:
        lock = lock_digest(lock_entries(root, modality))
    except MissingDataError:
        return named
    return named | {int(one.version) for one in versions if one.tags.get(store.LOCK_TAG) == lock}


def remove_in_registry(root: Path, garbage: Garbage) -> None:
    """Remove one item of `find_in_registry`. Its files are removed; MLflow keeps the row of a run until `mlflow gc`.

    Raises:
        StageError: The tracking store does not answer.
    """
    with store.connected(root) as client, store.missing_explained(garbage.what):
        if garbage.kind == "version":
            client.delete_model_version(*garbage.what.rsplit("/", 1))
            return
        is_run = garbage.kind == "run"
        uri = (
            client.get_run(garbage.what).info.artifact_uri
            if is_run
            else client.get_logged_model(garbage.what).artifact_location
        )
        _remove_artifacts(root, str(uri))  # first: the next collection finds only what has a row
        (client.delete_run if is_run else client.delete_logged_model)(garbage.what)


def _remove_artifacts(root: Path, uri: str) -> None:
    """Remove the folder of a run or model from the project; a server removes its own files."""
    place = store.local_path(uri)
    ours = store.folder(root) / "artifacts"
    if place is not None and place.exists() and place.resolve().is_relative_to(ours):
        shutil.rmtree(place)
        with suppress(OSError):  # the folder contains other files
            os.removedirs(place.parent)


def _of_no_version(
    root: Path, client: MlflowClient, modality: str, needed: Collection[str], limit: float
) -> Iterator[Garbage]:
    """List unused runs, and models that an interrupted publish logged or whose version was removed.

    The run of the project's current student is not listed, because the student may still be published.
    """
    experiment = client.get_experiment_by_name(modality)
    if experiment is None:
        return
    ids, report = [experiment.experiment_id], Layout(root, modality).distillation
    present = read_report(report, "distill")["student_sha256"] if report.exists() else None
    mlflow = store.import_mlflow()
    found: list[tuple[Kind, str, int, str]] = [
        ("run", run.info.run_id, run.info.start_time, run.info.artifact_uri)
        for run in mlflow.search_runs(ids, output_format="list")
        if present is None or run.data.tags.get(store.STUDENT_TAG) != present
    ]
    found += [
        ("bundle", model.model_id, model.creation_timestamp, model.artifact_location)
        for model in mlflow.search_logged_models(ids, output_format="list")
    ]
    for kind, what, created, uri in found:
        if what not in needed and created < limit:
            place = store.local_path(uri)
            size = size_of(place) if place is not None and place.exists() else 0
            yield Garbage(kind, what, f"a {kind} of no version", size)
