"""Operations on MLflow's registry: promote, reject, roll back, show the history, and write the registry dump."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from polydistill.config.params import Params
from polydistill.errors import DataError, MissingDataError
from polydistill.integrations.mlflow import store
from polydistill.integrations.mlflow.ledger import recorded
from polydistill.integrations.mlflow.registry import GATE_FOLDER, Version, gather
from polydistill.integrations.mlflow.stamp import ATTACHED
from polydistill.project.files import put_in_place, remove, write_atomic
from polydistill.project.layout import Layout
from polydistill.registry import gate, ledger
from polydistill.registry import promotion as moves
from polydistill.registry.recorded import RecordedRegistry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PROMOTION_TAG = "promotion"
CHAMPION_FILES = ("distill.json", "scores.json", "predictions.parquet")
"""Artifacts of the champion's run that the report compares the student with."""
EXPORTED_TAGS = ("modality", store.STUDENT_TAG, store.LOCK_TAG, store.COMMIT_TAG)


def promote(
    root: Path,
    params: Params,
    modality: str,
    *,
    dry_run: bool = False,
    force: str | None = None,
    expect: int | None = None,
) -> gate.Verdict:
    """Let the gate judge the challenger, move the aliases accordingly, and write the verdict.

    Args:
        root: The project folder.
        params: The parameters, including the gate's policy.
        modality: The modality of the model.
        dry_run: Return the verdict without writing anything.
        force: The reason why the challenger is promoted even if the gate refuses it.
        expect: The expected version of the challenger. None: any version.

    Raises:
        MissingDataError: There is no challenger, or it is not the expected one.
        ParamsError: `force` is empty.
        LedgerError: The model's ledger was tampered with.
        StageError: The tracking store does not answer.
    """
    policy = params.modality(modality).gate
    with opened(root, modality, dry_run=dry_run) as (client, registry):

        def keep(verdict: gate.Verdict) -> None:
            """Attach `promotion.json` to the challenger's run, and store its path in a tag of the version."""
            path, version = f"{GATE_FOLDER}/{gate.FILE}", verdict.challenger
            run_id = str(Version(client, registry.name, version).info.run_id)
            client.log_text(run_id, gate.promotion_json(verdict, policy), path)
            client.set_model_version_tag(registry.name, str(version), PROMOTION_TAG, path)

        hooks = moves.Hooks(partial(gather, client, params, modality), keep)
        verdict = moves.promote(
            registry, policy, hooks, dry_run=dry_run, force=force, expect=expect
        )
        if not dry_run:
            _keep_champion(client, registry, verdict, Layout(root, modality))
    if not dry_run:
        write_atomic(Layout(root, modality).verdict, gate.promotion_json(verdict, policy))
    return verdict


def _keep_champion(
    client: MlflowClient, registry: RecordedRegistry, verdict: gate.Verdict, layout: Layout
) -> None:
    """Keep the files that the report shows of the version that the challenger was compared with.

    If the challenger is the champion already, this is the previous champion. Without such a version, kept files of an
    earlier verdict are removed.
    """
    number = verdict.champion
    if number == verdict.challenger:
        number = registry.aliases.get(ledger.PREVIOUS)
    if number is None:
        remove(layout.champion)
        return
    version = Version(client, registry.name, number)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "champion"
        folder.mkdir()
        for name in CHAMPION_FILES:
            version.download(name, folder)
        if client.list_artifacts(str(version.info.run_id), ATTACHED):
            version.download(ATTACHED, folder)
        content = {"version": number, "git_commit": registry.registry.ids(number).git_commit}
        write_atomic(folder / "version.json", json.dumps(content, indent=1) + "\n")
        put_in_place(folder, layout.champion)


def reject(root: Path, params: Params, modality: str, *, by: str, reason: str) -> gate.Verdict:
    """Refuse the challenger by the decision of a person. The ledger, tags and verdict record the name and reason.

    Raises:
        ParamsError: There is no name or no reason.
        MissingDataError: There is no challenger, or it is the champion.
        StageError: The tracking store does not answer.
    """
    policy = params.modality(modality).gate
    with opened(root, modality) as (client, registry):
        hooks = moves.Hooks(partial(gather, client, params, modality))
        verdict = moves.reject(registry, policy, hooks, by=by, reason=reason)
    write_atomic(Layout(root, modality).verdict, gate.promotion_json(verdict, policy))
    return verdict


def last_verdict(root: Path, modality: str) -> gate.Promotion | None:
    """Return the last verdict on the challenger. None: there is no verdict, or this release cannot read it.

    Raises:
        StageError: The tracking store does not answer.
    """
    name = store.model_name(modality)
    with store.connected(root) as client, TemporaryDirectory() as folder:
        version = client.get_model_version_by_alias(name, ledger.CHALLENGER)
        attached = version.tags.get(PROMOTION_TAG)
        if attached is None or version.run_id is None:
            return None
        path = client.download_artifacts(version.run_id, attached, folder)
        try:
            return gate.read_promotion(Path(path).read_text(encoding="utf-8"))
        except DataError:  # written by another release: the gate must judge again
            return None


def rollback(
    root: Path, modality: str, to: int | None = None, *, reason: str | None, force: bool = False
) -> moves.Rollback:
    """Restore an earlier champion. See `registry.promotion.rollback`.

    Raises:
        MissingDataError: There is no such version, or no earlier champion.
        ParamsError: The version is champion already, or it was never champion and `force` is not set.
        LedgerError: The model's ledger was tampered with.
        StageError: The tracking store does not answer.
    """
    with opened(root, modality) as (_, registry):
        return moves.rollback(registry, to, reason=reason, force=force)


def history(root: Path, modality: str, at: datetime | None = None) -> tuple[ledger.Entry, ...]:
    """Return the entries of the ledger up to a moment. The ledger is first brought up to date with the registry.

    Raises:
        MissingDataError: Nothing was published yet.
        LedgerError: The model's ledger was tampered with, in MLflow or in its copy on disk.
        StageError: The tracking store does not answer.
    """
    with opened(root, modality) as (_, registry):
        registry.reconcile()
        registry.store.verify()
        return registry.entries if at is None else ledger.as_of(registry.entries, at)


def dump(root: Path, modality: str) -> list[Path]:
    """Write the registry dump for git: `mlruns/exports/<model>/{run,model}.json`.

    Both files are deterministic: they contain no path, time, host or run id. The copy of the ledger, which does contain
    times and run ids, is updated first, so that it agrees with `model.json`.

    Raises:
        MissingDataError: There is no champion.
        LedgerError: The ledger was tampered with.
        StageError: The tracking store does not answer.
    """
    name = store.model_name(modality)
    with opened(root, modality) as (client, registry):
        registry.reconcile()
        champion = registry.aliases.get(ledger.CHAMPION)
        if champion is None:
            raise MissingDataError(f"{name} has no champion: publish a student and promote it.")
        run = client.get_run(str(client.get_model_version(name, str(champion)).run_id))
        versions = client.search_model_versions(f"name = '{name}'")
        tags = {int(one.version): dict(one.tags) for one in versions}
        model = {
            "name": name,
            "aliases": registry.registry.aliases(),
            "versions": [{"version": one, "tags": tags[one]} for one in sorted(tags)],
        }
        contents = {"run": _dumped(client, run), "model": model}
    files = []
    for part, content in contents.items():
        files.append(store.folder(root) / "exports" / name / f"{part}.json")
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
        write_atomic(files[-1], text + "\n")
    return files


def _dumped(client: MlflowClient, run: Run) -> dict[str, Any]:
    """Return the content of a run for `run.json`. Metrics are lists of `[step, value]`, the last value per step."""
    metrics: dict[str, list[list[float]]] = {}
    for name in sorted(run.data.metrics):
        if not name.startswith("system/"):
            points = client.get_metric_history(str(run.info.run_id), name)
            by_step = {one.step: one.value for one in sorted(points, key=lambda one: one.timestamp)}
            metrics[name] = [[step, by_step[step]] for step in sorted(by_step)]
    inputs = run.inputs.dataset_inputs if run.inputs else ()
    return {
        "tags": {tag: run.data.tags[tag] for tag in EXPORTED_TAGS if tag in run.data.tags},
        "params": dict(run.data.params),
        "metrics": metrics,
        "inputs": [{"name": one.dataset.name, "digest": one.dataset.digest} for one in inputs],
    }


@contextmanager
def opened(
    root: Path, modality: str, *, dry_run: bool = False
) -> Iterator[tuple[MlflowClient, RecordedRegistry]]:
    """Yield a client, and the model's registry with its ledger. A missing model or store is not created."""
    name = store.model_name(modality)
    missing = MissingDataError(f"No model {name} in the registry: publish a student first.")
    if not store.has_store(root):
        raise missing
    with store.connected(root) as client:
        if store.registered_model(client, name) is None:
            raise missing
        with recorded(root, client, name, dry_run=dry_run) as registry:
            yield client, registry
