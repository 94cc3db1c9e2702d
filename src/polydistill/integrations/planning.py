"""Decides whether a run has anything to do, based on stale stages, the champion and the retrain policy.

The gate, drift and Great Expectations import torch. They are imported only if the decision depends on them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from polydistill.config.operations import RetrainPolicy
from polydistill.config.params import Params
from polydistill.errors import MissingDataError
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.mlflow.store import LOCK_TAG, connected, model_name, registered_model
from polydistill.project.layout import Layout
from polydistill.registry.ledger import CHALLENGER, CHAMPION, WITHDRAWN

Action = Literal["run", "unchanged", "waiting"]


@dataclass(frozen=True)
class Registered:
    """The facts about a registered version that a plan needs.

    Attributes:
        version: The number of the version.
        lock_sha256: The sha256 of the modality's entries in `dvc.lock` when the version was made.
        data_md5: DVC's hash of the data that the version was made from; None if it is not recorded.
        verdict: The verdict of the gate or of a person, from the version's tag.
        refused: Whether the gate or a person refused the version and nothing has changed since.
    """

    version: int
    lock_sha256: str | None
    data_md5: str | None
    verdict: str | None = None
    refused: bool = False


@dataclass(frozen=True)
class Facts:
    """The state of a project that a plan depends on.

    Attributes:
        stale: The stages and files that DVC reports as not up to date.
        lock_sha256: The sha256 of the modality's entries in `dvc.lock`; None before the first run.
        data_md5: DVC's hash of the data; None if `data/` has edits that `dvc add` has not saved.
        champion: The champion; None if there is none.
        challenger: The challenger; None if there is none.
    """

    stale: tuple[str, ...]
    lock_sha256: str | None
    data_md5: str | None
    champion: Registered | None
    challenger: Registered | None


@dataclass(frozen=True)
class Plan:
    """The decision about a run.

    Attributes:
        action: `run` (make a student), `unchanged` (nothing has changed) or `waiting` (policy condition not met).
        reason: A sentence that explains the decision to a person.
    """

    action: Action
    reason: str


def make_plan(
    root: Path, params: Params, modality: str, policy: RetrainPolicy | None = None
) -> Plan:
    """Return whether a run of the project would have anything to do, without starting a stage or changing anything.

    Args:
        root: The project folder.
        params: The project's parameters.
        modality: A block of `params.yaml`.
        policy: A policy that replaces the one in `params.yaml`.

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
    """Return whether a person or the gate refuses the challenger; `verdict` is its last recorded verdict.

    The gate is applied again only if its last verdict is missing, or if its policy or the champion has changed.
    """
    if verdict != "refused":
        return verdict == WITHDRAWN
    from polydistill.integrations.mlflow.promotion import last_verdict, promote

    last = last_verdict(root, modality)
    now = (params.modality(modality).gate, None if champion is None else champion.version)
    if last is not None and (last.policy, last.champion) == now:
        return last.refused
    return promote(root, params, modality, dry_run=True).refused


def plan(policy: RetrainPolicy, facts: Facts, drift: Callable[[], Sequence[str] | None]) -> Plan:
    """Decide whether a run has anything to do.

    Args:
        policy: The condition for making a new student.
        facts: The state of the project.
        drift: Returns the names of columns or tests that show drift from the champion's corpus, or None without a
            reference. It is called only if the decision depends on drift.
    """
    settled = _settled(facts)
    if settled is not None:
        return Plan("unchanged", f"Nothing is stale, and {settled}.")
    if facts.champion is None:
        return Plan("run", "There is no champion yet.")
    if policy == "always":
        stale = ", ".join(facts.stale) or "nothing, but the gate has not judged the student yet"
        return Plan("run", f"Stale: {stale}.")
    return _wait_for_data(policy, facts, facts.champion, drift)


def _settled(facts: Facts) -> str | None:
    """Return a description of the version made from the current files, if it was promoted or refused."""
    champion, challenger = facts.champion, facts.challenger
    if facts.stale:
        return None
    if champion is not None and champion.lock_sha256 == facts.lock_sha256:
        return f"version {champion.version} is champion"
    if challenger is None or challenger.lock_sha256 != facts.lock_sha256:
        return None
    return f"version {challenger.version} was refused" if challenger.refused else None


def _wait_for_data(
    policy: RetrainPolicy,
    facts: Facts,
    champion: Registered,
    drift: Callable[[], Sequence[str] | None],
) -> Plan:
    """Decide for the policies that depend only on the data."""
    if facts.data_md5 is not None and facts.data_md5 == champion.data_md5:
        reason = f"The data are those of champion {champion.version}; policy: {policy}."
        return Plan("waiting", reason)
    if policy == "on-new-data":
        return Plan("run", f"The data are not those of champion {champion.version}.")
    drifted = drift()
    if drifted is None:
        return Plan("run", f"Champion {champion.version} has no reference to compare drift with.")
    if drifted:
        return Plan("run", f"Drift from champion {champion.version}: {', '.join(drifted)}.")
    return Plan("waiting", f"New data without drift from champion {champion.version}.")
