"""Decides whether a run has anything to do, from the stages that are stale, the champion and the retrain policy.

The gate, drift and Great Expectations import torch, so they are imported only if the decision depends on them.
"""

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
        params: The project's parameters.
        modality: A block of `params.yaml`.
        policy: Replaces the policy in `params.yaml`.

    Raises:
        StageError: DVC or the tracking store does not answer.
    """

    def drifted() -> Sequence[str] | None:
        from polydistill.integrations.great_expectations import GreatExpectationsChecker
        from polydistill.integrations.mlflow.registry import champion_drift

        checker = GreatExpectationsChecker(Layout(root, modality).drift_docs)
        try:
            report = champion_drift(root, params, modality, model_name(modality), checker)
        except MissingDataError:
            return None
        return report.drifted

    chosen = policy or params.modality(modality).retrain.policy
    return plan(chosen, gather_facts(root, params, modality), drifted)


def gather_facts(root: Path, params: Params, modality: str) -> Facts:
    """Return the facts that a plan depends on, from DVC and the registry.

    Raises:
        StageError: DVC or the tracking store does not answer.
    """
    stale = stale_entries(root, params, modality)
    saved = (root / dvc.DATA_FILE).exists() and str(dvc.DATA_FILE) not in stale
    data = dvc.data_hash(root) if saved else None
    try:
        lock = dvc.lock_digest(dvc.lock_entries(root, modality))
    except MissingDataError:  # before the first run
        lock = None
    versions = _registered(root, modality)
    champion, challenger = versions.get(CHAMPION), versions.get(CHALLENGER)
    if challenger is not None and challenger.lock_sha256 == lock:
        refused = _is_refused(root, params, modality, challenger.verdict, champion)
        challenger = replace(challenger, refused=refused)
    return Facts(stale, lock, data, champion, challenger)


def stale_entries(root: Path, params: Params, modality: str) -> tuple[str, ...]:
    """Return the stages of a modality that are not up to date, and `data.dvc` if the data have changed."""
    ours = {modality, *params.embed_keys(modality)}
    return tuple(
        entry
        for entry in dvc.status(root)
        if entry == str(dvc.DATA_FILE) or entry.partition("@")[2] in ours
    )


def _registered(root: Path, modality: str) -> dict[str, Registered]:
    """Return the champion and the challenger by alias."""
    name, found = model_name(modality), {}
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
    return found


def _is_refused(
    root: Path, params: Params, modality: str, verdict: str | None, champion: Registered | None
) -> bool:
    """Return whether a person or the gate refuses the challenger, whose last verdict is `verdict`.

    The gate judges it again only if its policy or the champion has changed.
    """
    if verdict != "refused":
        return verdict == WITHDRAWN
    from polydistill.integrations.mlflow.promotion import last_verdict, promote

    last = last_verdict(root, modality)
    now = (params.modality(modality).gate, None if champion is None else champion.version)
    if last is not None and (last.policy, last.champion) == now:
        return last.refused
    return promote(root, params, modality, dry_run=True).refused
