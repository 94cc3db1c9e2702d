"""What lies in the registry that nothing needs: runs, bundles and versions."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
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
)
from polydistill.project.layout import Layout
from polydistill.registry.ledger import was_champion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

PAGE = 1000


@dataclass(frozen=True)
class Named:
    """What a rollback may need.

    Attributes:
        versions: That were champion once.
        run_ids: Theirs.
    """

    versions: frozenset[int]
    run_ids: frozenset[str]


def needed_by_ledger(root: Path, client: MlflowClient, model: str) -> Named | None:
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
    return Named(versions, frozenset(str(one) for one in run_ids if one is not None))


def find_in_registry(
    root: Path, modality: str, older_than_h: float, keep_versions: int
) -> list[Garbage]:
    """List runs and bundles of no version, and, if there is a ledger, versions that nothing needs.

    What an alias or the lock that lies in the project names is never listed, nor what was champion once by
    the ledger, nor what began in the last `older_than_h` hours. Without a ledger no version is.

    Args:
        root: The project folder.
        modality: A block of `params.yaml`.
        older_than_h: In hours.
        keep_versions: So many of the newest versions are kept, whatever names them.

    Raises:
        LedgerError: The ledger was tampered with.
        StageError: The tracking store does not answer.
    """
    name = model_name(modality)
    limit = (time.time() - older_than_h * HOUR_S) * 1000
    with connected(root) as client:
        ledger = needed_by_ledger(root, client, name)
        versions = kept = _all_versions(client, name)
        if ledger is not None:
            kept = _named_versions(client, versions, (ledger, _lock(root, modality)))
            kept += sorted(versions, key=lambda one: -int(one.version))[:keep_versions]
        numbers = {one.version for one in kept}
        gone = [v for v in versions if v.version not in numbers and v.creation_timestamp < limit]
        staying = [one for one in versions if one not in gone]
        runs = {str(one.run_id) for one in staying} | (ledger.run_ids if ledger else frozenset())
        why = "never champion, and no alias or lock names it"
        found = [Garbage("version", f"{name}/{one.version}", why, 0) for one in gone]
        found += _runs(client, root, modality, (runs, limit))
        found += _bundles(client, modality, ({_bundle(one) for one in staying}, limit))
    return found


def remove_in_registry(root: Path, garbage: Garbage) -> None:
    """Remove one of `find_in_registry`: its files at once, its rows as MLflow does.

    MLflow keeps the row of a deleted run until `mlflow gc`.

    Raises:
        StageError: The tracking store does not answer.
    """
    with connected(root) as client, missing_explained(garbage.what):
        if garbage.kind == "version":
            name, number = garbage.what.rsplit("/", 1)
            client.delete_model_version(name, number)
        elif garbage.kind == "run":
            place = _local(str(client.get_run(garbage.what).info.artifact_uri))
            client.delete_run(garbage.what)
            _clear(root, place)
        else:
            place = _local(str(client.get_logged_model(garbage.what).artifact_location))
            client.delete_logged_model(garbage.what)
            _clear(root, place)


def _all_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Return every version: of one that is overlooked, the run would seem to be of no version."""
    versions: list[ModelVersion] = []
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", PAGE, page_token=token)
        versions += page
        token = page.token
        if not token:
            return versions


def _named_versions(
    client: MlflowClient,
    versions: Sequence[ModelVersion],
    named: tuple[Named, str | None],
) -> list[ModelVersion]:
    """Return the versions that an alias, the ledger or the lock needs."""
    if not versions:
        return []
    ledger, lock = named
    aliases = client.get_registered_model(versions[0].name).aliases
    numbers = ledger.versions | {int(one) for one in aliases.values()}
    return [
        one
        for one in versions
        if int(one.version) in numbers
        or str(one.run_id) in ledger.run_ids
        or (lock is not None and one.tags.get(LOCK_TAG) == lock)
    ]


def _lock(root: Path, modality: str) -> str | None:
    try:
        return lock_digest(lock_entries(root, modality))
    except MissingDataError:
        return None


def _present_student(root: Path, modality: str) -> str | None:
    """Return the student that lies in the project: its live run waits to be published."""
    path = Layout(root, modality).distillation
    if not path.exists():
        return None
    return str(json.loads(path.read_text(encoding="utf-8"))["student_sha256"])


def _runs(
    client: MlflowClient, root: Path, modality: str, needed: tuple[AbstractSet[str], float]
) -> Iterator[Garbage]:
    named, limit = needed
    present = _present_student(root, modality)
    for run in _all_runs(client, modality):
        waits = present is not None and run.data.tags.get(STUDENT_TAG) == present
        if run.info.run_id not in named and not waits and run.info.start_time < limit:
            place = _local(str(run.info.artifact_uri))
            yield Garbage("run", run.info.run_id, "a run of no version", _size(place))


def _all_runs(client: MlflowClient, modality: str) -> Iterator[Run]:
    experiment = client.get_experiment_by_name(modality)
    token: str | None = None
    while experiment is not None:
        page = client.search_runs([experiment.experiment_id], max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _bundles(
    client: MlflowClient, modality: str, needed: tuple[AbstractSet[str], float]
) -> Iterator[Garbage]:
    """List models that an interrupted publish has logged, or whose version goes."""
    named, limit = needed
    experiment, token = client.get_experiment_by_name(modality), None
    while experiment is not None:
        page = client.search_logged_models([experiment.experiment_id], page_token=token)
        for model in page:
            if model.model_id not in named and model.creation_timestamp < limit:
                place = _local(str(model.artifact_location))
                yield Garbage("bundle", model.model_id, "a bundle of no version", _size(place))
        token = page.token
        if not token:
            return


def _bundle(version: ModelVersion) -> str:
    """Return the id of the logged model that a version is made of."""
    return str(version.model_id or str(version.source).rpartition("/")[2])


def _local(uri: str) -> Path | None:
    """Return the folder of artifacts on this disk; None if a server keeps them."""
    parsed = urlparse(uri)
    return Path(unquote(parsed.path)) if parsed.scheme in ("", "file") else None


def _size(place: Path | None) -> int:
    return size_of(place) if place is not None and place.exists() else 0


def _clear(root: Path, place: Path | None) -> None:
    """Remove artifacts, if they lie in the project's own store; a server clears its own."""
    ours = folder(root) / "artifacts"
    if place is None or not place.exists() or not place.resolve().is_relative_to(ours):
        return
    shutil.rmtree(place)
    parent = place.parent
    while parent != ours and not any(parent.iterdir()):
        parent.rmdir()
        parent = parent.parent
