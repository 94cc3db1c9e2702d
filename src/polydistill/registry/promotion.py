"""Functions that move a model's aliases: challenge, promote, reject and roll back."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from polydistill.config.operations import GateParams
from polydistill.errors import MissingDataError, ParamsError
from polydistill.registry import ledger
from polydistill.registry.evidence import Candidate, Evidence
from polydistill.registry.gate import Verdict, judge
from polydistill.registry.ledger import CHALLENGER, CHAMPION, PREVIOUS, Action, Entry
from polydistill.registry.recorded import RecordedRegistry


@dataclass(frozen=True)
class Hooks:
    """Functions that `promote` and `reject` call before and after the gate judges.

    Attributes:
        gather: Returns the evidence about a challenger, compared with the champion if there is one.
        keep: Stores the verdict with the challenger. Called before any alias moves, so that the reason survives a
            crash.
    """

    gather: Callable[[Candidate, Candidate | None], Evidence | None] = lambda *_: None
    keep: Callable[[Verdict], None] = lambda _: None


NO_HOOKS = Hooks()


@dataclass(frozen=True)
class Rollback:
    """The result of a rollback.

    Attributes:
        model: The name of the registered model.
        champion: The new champion.
        displaced: The former champion, which has the alias `previous` now. None: there was no champion.
        skipped: Later champions that were passed over because they do not exist any more, the latest first.
        entry: The number of the rollback's entry in the ledger.
        reason: A human-readable explanation.
    """

    model: str
    champion: int
    displaced: int | None
    skipped: tuple[int, ...]
    entry: int
    reason: str


def challenge(recorded: RecordedRegistry, version: int) -> Entry | None:
    """Make a version the challenger. If it is the challenger already, nothing is written or repaired."""
    if recorded.registry.aliases().get(CHALLENGER) == version:
        return None
    recorded.reconcile()
    if recorded.aliases.get(CHALLENGER) == version:  # `reconcile` has just repaired this move
        return None
    reason = f"Version {version} is published."
    return recorded.move("challenge", {CHALLENGER: version}, about=version, reason=reason)


def promote(
    recorded: RecordedRegistry,
    policy: GateParams,
    hooks: Hooks = NO_HOOKS,
    *,
    dry_run: bool = False,
    force: str | None = None,
    expect: int | None = None,
) -> Verdict:
    """Let the gate judge the challenger. If it passes, it becomes champion and the old champion becomes `previous`.

    A version that was withdrawn by a rollback or a rejection is refused regardless of its scores.

    Args:
        recorded: The registry of one model.
        policy: The gate's bounds.
        hooks: Functions that gather the evidence and keep the verdict.
        dry_run: Return the verdict without writing anything.
        force: The reason why the challenger is promoted even if it is refused.
        expect: The expected version of the challenger. None: any version.

    Raises:
        MissingDataError: There is no challenger, or it is not the expected one.
        ParamsError: `force` is empty.
        LedgerError: The ledger was tampered with.
    """
    if force is not None and not force.strip():
        raise ParamsError("`--force` needs a reason, which the ledger keeps: --reason '…'.")
    recorded.reconcile(dry_run=dry_run)
    version = recorded.aliases.get(CHALLENGER)
    if version is None:
        raise MissingDataError(
            f"{recorded.name} has no version with the alias {CHALLENGER!r}: publish a student first."
        )
    if expect is not None and version != expect:
        raise MissingDataError(
            f"{recorded.name}'s challenger is version {version}, and version {expect} was expected: "
            "nothing is promoted. Look at the new challenger and try again."
        )
    verdict = _judged(recorded, policy, version, hooks)
    if verdict.outcome == "unchanged":
        healed = recorded.healed
        if healed and healed.ids.version == version and CHAMPION in healed.moves:
            # A previous process recorded the promotion, but stopped before it moved the alias.
            verdict = verdict.changed_to("promoted", healed.reason)
        return replace(verdict, dry_run=dry_run)
    forced = verdict.refused and force is not None
    if forced:
        reason = f"Version {version} is promoted by force: {force} The gate says: {verdict.reason}"
        verdict = verdict.changed_to("promoted", reason)
    if not dry_run:
        hooks.keep(verdict)
        _record(recorded, verdict, forced=forced)
    return replace(verdict, dry_run=dry_run)


def reject(
    recorded: RecordedRegistry, policy: GateParams, hooks: Hooks = NO_HOOKS, *, by: str, reason: str
) -> Verdict:
    """Refuse the challenger by the decision of a person. From then on, it can only be promoted with `force`.

    Raises:
        ParamsError: There is no name or no reason.
        MissingDataError: There is no challenger, or it is the champion.
        LedgerError: The ledger was tampered with.
    """
    if not by.strip() or not reason.strip():
        raise ParamsError("A rejection needs a name (--by) and a reason (--reason).")
    recorded.reconcile()
    version = recorded.aliases.get(CHALLENGER)
    if version is None or version == recorded.aliases.get(CHAMPION):
        raise MissingDataError(f"{recorded.name} has no challenger to reject.")
    verdict = _judged(recorded, policy, version, hooks)
    verdict = verdict.changed_to("refused", f"Version {version} is refused by {by}: {reason}")
    recorded.move("reject", {}, about=version, reason=verdict.reason)
    return verdict


def rollback(
    recorded: RecordedRegistry,
    to: int | None = None,
    *,
    reason: str | None = None,
    force: bool = False,
) -> Rollback:
    """Restore an earlier champion. The current champion becomes `previous`.

    The challenger does not change. A second rollback restores a still earlier champion, never the displaced version.

    Args:
        recorded: The registry of one model.
        to: The version to restore. None: the latest earlier champion that still exists.
        reason: The reason, which is recorded in the ledger.
        force: Allow a version that was never champion.

    Raises:
        MissingDataError: There is no such version, or no earlier champion that exists.
        ParamsError: The version is champion already, or it was never champion and `force` is not set.
        LedgerError: The ledger was tampered with.
    """
    recorded.reconcile()
    current = recorded.aliases.get(CHAMPION)
    skipped: tuple[int, ...] = ()
    if to is None:
        to, skipped = _latest_champion(recorded, current)
        if to is None:
            gone = f" Deleted since: {', '.join(map(str, skipped))}." if skipped else ""
            raise MissingDataError(
                f"{recorded.name} has no earlier champion to go back to; champion is "
                f"{ledger.shown(current)}.{gone} `--to V` names a version."
            )
    else:
        _require_candidate(recorded, to, current, force=force)
    why = f": {reason.strip().rstrip('.')}" if reason else ""
    text = f"Rolled back from {ledger.shown(current)} to {to}{why}."
    if skipped:
        text += f" Skipped, as they do not exist any more: {', '.join(map(str, skipped))}."
    entry = recorded.move("rollback", _crowned(recorded, to), about=to, reason=text)
    return Rollback(recorded.name, to, current, skipped, entry.number, text)


def _judged(recorded: RecordedRegistry, policy: GateParams, version: int, hooks: Hooks) -> Verdict:
    """Return the verdict of the gate. A withdrawn version is refused."""
    old = recorded.aliases.get(CHAMPION)
    if old is None:  # the alias or the version was deleted: use the latest existing champion
        old = _latest_champion(recorded, version)[0]
    champion = None if old is None else recorded.registry.candidate(old)
    challenger = recorded.registry.candidate(version)
    evidence = hooks.gather(challenger, champion) if version != old else None
    verdict = judge(policy, challenger, champion, evidence)
    withdrawn = ledger.withdrawn(recorded.entries, version)
    if withdrawn is None or not verdict.promoted:
        return verdict
    reason = (
        f"Version {version} is refused: it was taken back. Entry {withdrawn.number}: {withdrawn.reason} "
        "`polydistill promote --force --reason '…'` promotes it anyway."
    )
    return verdict.changed_to("refused", reason)


def _record(recorded: RecordedRegistry, verdict: Verdict, *, forced: bool) -> None:
    """Record the verdict in the ledger, and move the aliases accordingly."""
    version = verdict.challenger
    action: Action = "refuse" if verdict.refused else "force" if forced else "promote"
    targets = {} if verdict.refused else _crowned(recorded, version)
    said = "promoted" if action == "promote" else "refused"
    recorded.move(action, targets, about=version, reason=verdict.reason, verdict=said)


def _latest_champion(
    recorded: RecordedRegistry, but: int | None
) -> tuple[int | None, tuple[int, ...]]:
    """Return the latest existing champion other than `but`, and later champions that do not exist any more."""
    existing = recorded.registry.versions()
    line = [one for one in reversed(ledger.champions(recorded.entries)) if one != but]
    version = next((one for one in line if one in existing), None)
    return version, tuple(line if version is None else line[: line.index(version)])


def _require_candidate(
    recorded: RecordedRegistry, to: int, current: int | None, *, force: bool
) -> None:
    existing = recorded.registry.versions()
    if to not in existing:
        known = ", ".join(map(str, sorted(existing))) or "none"
        raise MissingDataError(f"{recorded.name} has no version {to}. Known: {known}.")
    if to == current:
        raise ParamsError(f"Version {to} of {recorded.name} is champion already.")
    if not force and not ledger.was_champion(recorded.entries, to):
        known = ", ".join(map(str, ledger.champions(recorded.entries))) or "none"
        raise ParamsError(
            f"Version {to} of {recorded.name} was never champion. Champions: {known}. "
            "`--force` allows it."
        )


def _crowned(recorded: RecordedRegistry, version: int) -> dict[str, int | None]:
    """Return the alias changes that make a version the champion."""
    old = recorded.aliases.get(CHAMPION)
    return {CHAMPION: version} if old is None else {PREVIOUS: old, CHAMPION: version}
