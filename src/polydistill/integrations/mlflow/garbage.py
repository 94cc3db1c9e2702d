"""Runs, bundles and versions in the registry that nothing needs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from polydistill.errors import MissingDataError
from polydistill.integrations.dvc.stages import lock_digest, lock_entries
from polydistill.integrations.garbage import HOUR_S, Garbage, size_of
from polydistill.integrations.mlflow.ledger import MlflowLedger
from polydistill.integrations.mlflow.store import (
    LOCK_TAG,
    STUDENT_TAG,
    connected,
    folder,
    missing_explained,
    model_name,
    registered_model,
)
from polydistill.project.layout import Layout
from polydistill.registry.ledger import was_champion
from polydistill.report.results import read_report

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class Needed:
    """What a rollback may need.

    Attributes:
        versions: That were champion once.
        run_ids: Theirs.
    """

    versions: frozenset[int]
    run_ids: frozenset[str]


def needed_by_ledger(root: Path, client: MlflowClient, model: str) -> Needed | None:
    """Return what the ledger of a model may lead back to; None if there is no ledger.

    Raises:
        LedgerError: It was tampered with: then nothing is known to be unneeded.
    """
    entries = MlflowLedger(root, client, model).read().entries
    if not entries:
        return None
    named = {one for entry in entries for move in entry.moves.values() for one in move if one}
    versions = frozenset(version for version in named if was_champion(entries, version))
    run_ids = {entry.ids.run_id for entry in entries if entry.ids.version in versions}
    return Needed(versions, frozenset(str(one) for one in run_ids if one is not None))


def find_in_registry(
    root: Path, modality: str, older_than_h: float, keep_versions: int
) -> list[Garbage]:
    """List runs and bundles of no version, and, if there is a ledger, versions that nothing needs.

    Never listed: what an alias or the project's lock names, what was champion once according to the ledger,
    and what began in the last `older_than_h` hours. Without a ledger, no version is listed.

    Args:
        root: The project folder.
        modality: A block of `params.yaml`.
        older_than_h: In hours.
        keep_versions: The number of newest versions that are kept in any case.

    Raises:
        LedgerError: The ledger was tampered with.
        StageError: The tracking store does not answer.
    """
    name = model_name(modality)
    limit = (time.time() - older_than_h * HOUR_S) * 1000
    with connected(root) as client:
        ledger = needed_by_ledger(root, client, name)
        versions = list(_pages(client.search_model_versions, f"name = '{name}'"))
        versions.sort(key=lambda one: -int(one.version))
        named = [one for one in versions[keep_versions:] if _is_named(root, client, ledger, one)]
        kept = versions if ledger is None else [*versions[:keep_versions], *named]
        gone = [one for one in versions if one not in kept and one.creation_timestamp < limit]
        staying = [one for one in versions if one not in gone]
        needed = {str(one.run_id) for one in staying} | (ledger.run_ids if ledger else set())
        needed |= {str(one.model_id or str(one.source).rpartition("/")[2]) for one in staying}
        why = "never champion, and no alias or lock names it"
        found = [Garbage("version", f"{name}/{one.version}", why, 0) for one in gone]
        found += _of_no_version(root, client, modality, needed, limit)
    return found


def remove_in_registry(root: Path, garbage: Garbage) -> None:
    """Remove one of `find_in_registry`: its files at once, its rows as MLflow does.

    MLflow keeps the row of a deleted run until `mlflow gc`.

    Raises:
        StageError: The tracking store does not answer.
    """
    with connected(root) as client, missing_explained(garbage.what):
        if garbage.kind == "version":
            client.delete_model_version(*garbage.what.rsplit("/", 1))
            return
        if garbage.kind == "run":
            place = client.get_run(garbage.what).info.artifact_uri
            client.delete_run(garbage.what)
        else:
            place = client.get_logged_model(garbage.what).artifact_location
            client.delete_logged_model(garbage.what)
        _clear(root, _local(str(place)))


def _pages(search: Callable[..., Any], what: object) -> Iterator[Any]:
    """Yield everything that a search finds: a version that is overlooked would make its run unneeded."""
    token: str | None = None
    while True:
        page = search(what, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _is_named(
    root: Path, client: MlflowClient, ledger: Needed | None, version: ModelVersion
) -> bool:
    """Return whether an alias, the ledger or the lock of the project names a version."""
    model = registered_model(client, version.name)
    aliases = {} if model is None else model.aliases
    try:
        lock = lock_digest(lock_entries(root, version.name.removeprefix(model_name(""))))
    except MissingDataError:
        lock = None
    return (
        version.version in {str(one) for one in aliases.values()}
        or (lock is not None and version.tags.get(LOCK_TAG) == lock)
        or (ledger is not None and int(version.version) in ledger.versions)
        or (ledger is not None and str(version.run_id) in ledger.run_ids)
    )


def _of_no_version(
    root: Path, client: MlflowClient, modality: str, needed: Container[str], limit: float
) -> Iterator[Garbage]:
    """List runs, and models that an interrupted publish has logged or whose version goes.

    The live run of the student that is in the project waits to be published.
    """
    experiment, report = (
        client.get_experiment_by_name(modality),
        Layout(root, modality).distillation,
    )
    if experiment is None:
        return
    ids = [experiment.experiment_id]
    present = read_report(report, "distill")["student_sha256"] if report.exists() else None
    for run in _pages(client.search_runs, ids):
        waits = present is not None and run.data.tags.get(STUDENT_TAG) == present
        if run.info.run_id not in needed and not waits and run.info.start_time < limit:
            place = _local(str(run.info.artifact_uri))
            yield Garbage("run", run.info.run_id, "a run of no version", _size(place))
    for model in _pages(client.search_logged_models, ids):
        if model.model_id not in needed and model.creation_timestamp < limit:
            place = _local(str(model.artifact_location))
            yield Garbage("bundle", model.model_id, "a bundle of no version", _size(place))


def _local(uri: str) -> Path | None:
    """Return the folder of artifacts on this disk; None if a server keeps them."""
    parsed = urlparse(uri)
    return Path(unquote(parsed.path)) if parsed.scheme in ("", "file") else None


def _size(place: Path | None) -> int:
    return size_of(place) if place is not None and place.exists() else 0


def _clear(root: Path, place: Path | None) -> None:
    """Remove artifacts, if they are in the project's own store; a server removes its own."""
    ours = folder(root) / "artifacts"
    if place is None or not place.exists() or not place.resolve().is_relative_to(ours):
        return
    shutil.rmtree(place)
    parent = place.parent
    while parent != ours and not any(parent.iterdir()):
        parent.rmdir()
        parent = parent.parent
