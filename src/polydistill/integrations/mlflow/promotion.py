"""Promote, reject, roll back and read the history, in MLflow's registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from polydistill.config.operations import GateParams
from polydistill.config.params import Params
from polydistill.errors import DataError, MissingDataError, ParamsError
from polydistill.integrations.mlflow.evidence import PROMOTION_TAG, attach, gather
from polydistill.integrations.mlflow.ledger import recorded
from polydistill.integrations.mlflow.store import connected, has_store, model_name, registered_model
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout
from polydistill.registry.gate import Promotion, promotion_json, read_promotion
from polydistill.registry.gate import Verdict
from polydistill.registry.ledger import CHALLENGER, Entry, as_of, replay
from polydistill.registry.promotion import Hooks, Rollback
from polydistill.registry.promotion import promote as ask_gate
from polydistill.registry.promotion import reject as enter_rejection
from polydistill.registry.promotion import rollback as go_back
from polydistill.registry.recorded import RecordedRegistry

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class History:
    """The life of a model, or its state at a moment.

    Attributes:
        model: The registered model's name.
        at: The moment; none: now.
        aliases: Where every alias pointed then.
        entries: What the ledger had by then.
    """

    model: str
    at: datetime | None
    aliases: dict[str, int]
    entries: tuple[Entry, ...]


def promote(
    root: Path,
    params: Params,
    modality: str,
    *,
    dry_run: bool = False,
    force: str | None = None,
    expect: int | None = None,
) -> Verdict:
    """Let the gate judge the challenger, move the aliases, and write the verdict.

    Args:
        root: The project folder.
        params: Hold the gate's policy.
        modality: Names the model.
        dry_run: Write nothing at all.
        force: Why the challenger is promoted though the gate refuses it.
        expect: The version that somebody has looked at: no other one is judged.

    Raises:
        MissingDataError: There is no challenger, or another one than was expected.
        ParamsError: `force` is empty.
        LedgerError: The model's ledger was tampered with.
        StageError: The tracking store does not answer.
    """
    policy = params.modality(modality).gate
    name = model_name(modality)
    with opened(root, modality, dry_run=dry_run) as (client, registry):
        hooks = Hooks(
            gather=partial(gather, client, name, params, modality),
            keep=partial(attach, client, name, policy),
        )
        verdict = ask_gate(registry, policy, hooks, dry_run=dry_run, force=force, expect=expect)
    if not dry_run:
        write_verdict(Layout(root, modality).verdict, verdict, policy)
    return verdict


def reject(root: Path, params: Params, modality: str, *, by: str, reason: str) -> Verdict:
    """Refuse the challenger in a person's name; ledger, tags and verdict record who and why.

    Raises:
        ParamsError: There is no name or no reason.
        MissingDataError: There is no challenger, or it is champion already.
        StageError: The tracking store does not answer.
    """
    if not by.strip() or not reason.strip():
        raise ParamsError("A rejection needs a name (--by) and a reason (--reason).")
    verdict = promote(root, params, modality, dry_run=True)
    if verdict.outcome == "unchanged":
        raise MissingDataError(f"{verdict.reason} There is no challenger to reject.")
    with opened(root, modality) as (_, registry):
        registry.reconcile()
        if registry.aliases.get(CHALLENGER) != verdict.challenger:
            raise MissingDataError("The challenger has changed: look at it and try again.")
        said = enter_rejection(registry, by=by, reason=reason).reason
    verdict = replace(
        verdict, outcome="refused", promoted=False, refused=True, reason=said, dry_run=False
    )
    write_verdict(Layout(root, modality).verdict, verdict, params.modality(modality).gate)
    return verdict


def last_verdict(root: Path, modality: str) -> Promotion | None:
    """Return the last verdict on the challenger; none, if there is none that this release can read.

    Raises:
        StageError: The tracking store does not answer.
    """
    name = model_name(modality)
    with connected(root) as client, TemporaryDirectory() as folder:
        version = client.get_model_version_by_alias(name, CHALLENGER)
        attached = version.tags.get(PROMOTION_TAG)
        if attached is None or version.run_id is None:
            return None
        path = client.download_artifacts(version.run_id, attached, folder)
        try:
            return read_promotion(Path(path).read_text(encoding="utf-8"))
        except DataError:  # of another release: the gate must judge again
            return None


def rollback(
    root: Path, modality: str, to: int | None = None, *, reason: str | None, force: bool = False
) -> Rollback:
    """Make an earlier champion champion again; see `registry.promotion.rollback`.

    Raises:
        MissingDataError: There is no such version, or none to go back to.
        ParamsError: The version is champion already, or never was without `force`.
        LedgerError: The model's ledger was tampered with.
        StageError: The tracking store does not answer.
    """
    with opened(root, modality) as (_, registry):
        return go_back(registry, to, reason=reason, force=force)


def history(root: Path, modality: str, at: datetime | None = None) -> History:
    """Return what the ledger has, up to a moment; registry and ledger are made to agree first.

    Raises:
        MissingDataError: Nothing was published yet.
        LedgerError: The model's ledger was tampered with, in MLflow or in its file.
        StageError: The tracking store does not answer.
    """
    name = model_name(modality)
    with opened(root, modality) as (_, registry):
        registry.reconcile()
        registry.verify()
        entries = registry.entries if at is None else as_of(registry.entries, at)
    return History(name, at, replay(entries), entries)


@contextmanager
def opened(
    root: Path, modality: str, *, dry_run: bool = False
) -> Iterator[tuple[MlflowClient, RecordedRegistry]]:
    """Give the model's registry and ledger; nothing is made for a model that does not exist."""
    name = model_name(modality)
    missing = MissingDataError(f"No model {name} in the registry: publish a student first.")
    if not has_store(root):
        raise missing
    with connected(root) as client:
        if registered_model(client, name) is None:
            raise missing
        with recorded(root, client, name, dry_run=dry_run) as registry:
            yield client, registry


def write_verdict(path: Path, verdict: Verdict, policy: GateParams) -> None:
    """Write `promotion.json` where the report finds it."""
    write_atomic(path, promotion_json(verdict, policy))
