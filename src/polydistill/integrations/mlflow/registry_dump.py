"""The registry dump, for git: the champion's run and the registered model as sorted JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polydistill.errors import MissingDataError
from polydistill.integrations.mlflow.promotion import opened
from polydistill.integrations.mlflow.store import (
    COMMIT_TAG,
    LOCK_TAG,
    STUDENT_TAG,
    folder,
    model_name,
)
from polydistill.project.files import write_atomic
from polydistill.registry.ledger import CHAMPION

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPORTS = "exports"
SYSTEM = "system/"
EXPORTED_TAGS = ("modality", STUDENT_TAG, LOCK_TAG, COMMIT_TAG)


def export(root: Path, modality: str) -> list[Path]:
    """Write `mlruns/exports/<model>/{run,model}.json`; the same registry gives the same bytes.

    They hold no path, time, host or run id: a run is known by its student and its lock. The ledger beside
    them, which has times and run ids, is brought up to date first, so that it and `model.json` agree.

    Raises:
        MissingDataError: There is no champion.
        LedgerError: The ledger was tampered with.
        StageError: The tracking store does not answer.
    """
    name = model_name(modality)
    with opened(root, modality) as (client, registry):
        registry.reconcile()
        version = registry.aliases.get(CHAMPION)
        if version is None:
            raise MissingDataError(f"{name} has no champion: publish a student and promote it.")
        run = client.get_run(str(client.get_model_version(name, str(version)).run_id))
        contents = {"run": _run(client, run), "model": _model(client, name)}
    target = folder(root) / EXPORTS / name
    files = {target / f"{part}.json": content for part, content in contents.items()}
    for path, content in files.items():
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
        write_atomic(path, text + "\n")
    return list(files)


def _run(client: MlflowClient, run: Run) -> dict[str, Any]:
    run_id = str(run.info.run_id)
    names = sorted(name for name in run.data.metrics if not name.startswith(SYSTEM))
    return {
        "tags": {tag: run.data.tags[tag] for tag in EXPORTED_TAGS if tag in run.data.tags},
        "params": dict(run.data.params),
        "metrics": {name: _points(client, run_id, name) for name in names},
        "inputs": [
            {"name": item.dataset.name, "digest": item.dataset.digest}
            for item in (run.inputs.dataset_inputs if run.inputs else ())
        ],
    }


def _points(client: MlflowClient, run_id: str, name: str) -> list[list[float]]:
    """Return a metric as `[step, value]`, each step once, by its last value."""
    history = sorted(client.get_metric_history(run_id, name), key=lambda point: point.timestamp)
    by_step = {point.step: point.value for point in history}
    return [[step, by_step[step]] for step in sorted(by_step)]


def _model(client: MlflowClient, name: str) -> dict[str, Any]:
    versions = client.search_model_versions(f"name = '{name}'")
    aliases = client.get_registered_model(name).aliases
    return {
        "name": name,
        "aliases": {alias: int(version) for alias, version in aliases.items()},
        "versions": [
            {"version": int(one.version), "tags": dict(one.tags)}
            for one in sorted(versions, key=lambda one: int(one.version))
        ],
    }
