"""What a run would do: DVC knows what is stale, the registry what is champion, the policy what follows.

A night without work needs nothing else, so the gate, drift and Great Expectations, which import torch, are
imported only where the answer depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from polydistill.config.operations import RetrainPolicy
from polydistill.config.params import Params
from polydistill.errors import MissingDataError
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.mlflow.store import LOCK_TAG, connected, model_name, registered_model
from polydistill.project.layout import Layout
from polydistill.project.scheduling import Facts, Plan, Registered, plan
from polydistill.registry.ledger import CHALLENGER, CHAMPION, WITHDRAWN


def make_plan(
    root: Path, params: Params, modality: str, policy: RetrainPolicy | None = None
) -> Plan:
    """Return whether a run of the project would have anything to do; starts no stage and changes nothing.

    Args:
        root: The project folder.
        params: Of the project.
        modality: A block of `params.yaml`.
        policy: In place of the one in `params.yaml`.

    Raises:
        StageError: DVC or the tracking store does not answer.
    """

    def drifted() -> Sequence[str] | None:
        from polydistill.integrations.great_expectations import GreatExpectationsChecker
        from polydistill.integrations.mlflow.drift_reference import champion_drift

        checker = GreatExpectationsChecker(Layout(root, modality).drift_docs)
        try:
            report = champion_drift(root, params, modality, model_name(modality), checker)
        except MissingDataError:
            return None
        return report.drifted

    retrain = params.modality(modality).retrain
    chosen = policy or retrain.policy
    return plan(chosen, gather_facts(root, params, modality), drifted)


def gather_facts(root: Path, params: Params, modality: str) -> Facts:
    """Ask DVC and the registry what a plan is made of.

    Raises:
        StageError: One of them does not answer.
    """
    stale = stale_entries(root, params, modality)
    saved = (root / dvc.DATA_FILE).exists() and str(dvc.DATA_FILE) not in stale
    try:
        lock = dvc.lock_digest(dvc.lock_entries(root, modality))
    except MissingDataError:  # before the first run
        lock = None
    champion, challenger = _registered(root, params, modality, lock)
    data = dvc.data_hash(root) if saved else None
    return Facts(stale, lock, data, champion, challenger)


def stale_entries(root: Path, params: Params, modality: str) -> tuple[str, ...]:
    """Return what is not up to date of a modality, according to DVC: its stages, and `data.dvc`."""
    ours = {modality, *params.embed_keys(modality)}
    return tuple(
        entry
        for entry in dvc.status(root)
        if entry == str(dvc.DATA_FILE) or entry.partition("@")[2] in ours
    )


def _registered(
    root: Path, params: Params, modality: str, lock: str | None
) -> tuple[Registered | None, Registered | None]:
    """Return champion and challenger."""
    name, found = model_name(modality), dict[str, Registered]()
    with connected(root) as client:
        model = registered_model(client, name)
        aliases = {} if model is None else model.aliases
        for alias in {CHAMPION, CHALLENGER} & aliases.keys():
            one = client.get_model_version(name, str(aliases[alias]))
            inputs = client.get_run(str(one.run_id)).inputs
            rows = inputs.dataset_inputs if inputs else ()
            data = next((str(row.dataset.digest) for row in rows), None)
            verdict = one.tags.get("verdict")
            found[alias] = Registered(int(one.version), one.tags.get(LOCK_TAG), data, verdict)
    champion, challenger = found.get(CHAMPION), found.get(CHALLENGER)
    if challenger is not None:
        refused = challenger.lock_sha256 == lock and (
            challenger.verdict == WITHDRAWN
            or (
                challenger.verdict == "refused" and _still_refused(root, params, modality, champion)
            )
        )
        challenger = replace(challenger, refused=refused)
    return champion, challenger


def _still_refused(root: Path, params: Params, modality: str, champion: Registered | None) -> bool:
    """Return whether the gate refuses the challenger today, too.

    The gate is asked again only if its policy or the champion has changed.
    """
    from polydistill.integrations.mlflow.promotion import last_verdict, promote

    said = last_verdict(root, modality)
    now = (params.modality(modality).gate, None if champion is None else champion.version)
    if said is not None and (said.policy, said.champion) == now:
        return said.refused
    return promote(root, params, modality, dry_run=True).refused
