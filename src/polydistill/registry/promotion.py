"""The moves of a model's aliases: challenge, promote, reject, roll back. The registry is behind a protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from polydistill.config.operations import GateParams
from polydistill.errors import MissingDataError, ParamsError
from polydistill.registry.evidence import Candidate, Evidence
from polydistill.registry.gate import Verdict, judge
from polydistill.registry.ledger import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    Action,
    Entry,
    champions,
    shown,
    was_champion,
    withdrawn,
)
from polydistill.registry.recorded import RecordedRegistry

Gather = Callable[[Candidate, Candidate | None], Evidence]


@dataclass(frozen=True)
class Hooks:
    """What is called around the gate.

    Attributes:
        gather: Returns the evidence about a challenger that the policy asks for; its second argument is the
            champion, if there is one. None: rules that need evidence are broken.
        keep: Stores the verdict with the challenger, before any alias moves: a crash loses no reason.
    """

    gather: Gather | None = None
    keep: Callable[[Verdict], None] | None = None


@dataclass(frozen=True)
class Rollback:
    """A champion that is back.

    Attributes:
        model: The registered model's name.
        champion: The version that is champion now.
        displaced: The version that was, and is `previous` now; none, if there was no champion.
        skipped: Champions in between that do not exist any more, latest first.
        entry: The ledger's entry.
        reason: For a person.
    """

    model: str
    champion: int
    displaced: int | None
    skipped: tuple[int, ...]
    entry: int
    reason: str


def challenge(recorded: RecordedRegistry, version: int) -> Entry | None:
    """Make a version the challenger; nothing is written if it already is.

    Nothing is repaired in that case: the next promotion does that, and reports it.
    """
    if recorded.registry.aliases().get(CHALLENGER) == version:
        return None
    recorded.reconcile()
    if recorded.aliases.get(CHALLENGER) == version:  # by a move that was repaired just now
        return None
    reason = f"Version {version} is published."
    return recorded.move("challenge", {CHALLENGER: version}, about=version, reason=reason)


def promote(
    recorded: RecordedRegistry,
    policy: GateParams,
    hooks: Hooks | None = None,
    *,
    dry_run: bool = False,
    force: str | None = None,
    expect: int | None = None,
) -> Verdict:
    """Let the gate judge the challenger; if it passes it becomes champion, and the old one `previous`.

    A version that a rollback or a person took back is refused, whatever its numbers are.

    Args:
        recorded: One registered model.
        policy: The gate's bounds.
        hooks: Bring the evidence, and keep the verdict.
        dry_run: Return the verdict, and write nothing at all.
        force: Why the challenger is promoted though it is refused.
        expect: The version that a person has looked at: no other one is judged.

    Raises:
        MissingDataError: There is no challenger, or another one than was expected.
        ParamsError: `force` is empty.
        LedgerError: The ledger was tampered with.
    """
    hooks = hooks or Hooks()
    if force is not None and not force.strip():
        raise ParamsError("`--force` needs a reason, which the ledger keeps: --reason '…'.")
    recorded.reconcile(dry_run=dry_run)
    version = _challenger(recorded, expect)
    verdict = _judged(recorded, policy, version, hooks.gather)
    if verdict.outcome == "unchanged":
        healed = recorded.healed
        if healed and healed.ids.version == version and CHAMPION in healed.moves:
            # Its alias was moved just now: the process that promoted it had ended before that.
            verdict = replace(verdict, outcome="promoted", promoted=True, reason=healed.reason)
        return replace(verdict, dry_run=dry_run)
    forced = verdict.refused and force is not None
    if forced:
        reason = f"Version {version} is promoted by force: {force} The gate says: {verdict.reason}"
        verdict = replace(verdict, outcome="promoted", promoted=True, refused=False, reason=reason)
    if not dry_run:
        _enter(recorded, verdict, hooks, forced=forced)
    return replace(verdict, dry_run=dry_run)


def _enter(recorded: RecordedRegistry, verdict: Verdict, hooks: Hooks, *, forced: bool) -> None:
    """Keep a verdict, and make the moves that follow from it."""
    version, reason = verdict.challenger, verdict.reason
    if hooks.keep is not None:
        hooks.keep(verdict)
    if verdict.refused:
        recorded.move("refuse", {}, about=version, reason=reason, verdict="refused")
        return
    action: Action = "force" if forced else "promote"
    said = "refused" if forced else "promoted"
    recorded.move(action, _crowned(recorded, version), about=version, reason=reason, verdict=said)


def _challenger(recorded: RecordedRegistry, expect: int | None) -> int:
    version = recorded.aliases.get(CHALLENGER)
    if version is None:
        raise MissingDataError(
            f"{recorded.name} has no version with the alias {CHALLENGER!r}: publish a student first."
        )
    if expect is not None and version != expect:
        raise MissingDataError(
            f"{recorded.name}'s challenger is version {version}, and version {expect} was expected: "
            "the alias has moved, and nothing is promoted. Look at it and try again."
        )
    return version


def _judged(
    recorded: RecordedRegistry, policy: GateParams, version: int, gather: Gather | None
) -> Verdict:
    """Return what the gate and the ledger say."""
    old = recorded.aliases.get(CHAMPION)
    if old is None:  # deleted, or its alias was: the one before it is what a challenger must match
        old = _latest_champion(recorded, version)[0]
    champion = None if old is None else recorded.registry.candidate(old)
    challenger = recorded.registry.candidate(version)
    evidence = gather(challenger, champion) if gather is not None and version != old else None
    verdict = judge(policy, challenger, champion, evidence)
    taken_back = withdrawn(recorded.entries, version)
    if taken_back is None or not verdict.promoted:
        return verdict
    reason = (
        f"Version {version} is refused: it was taken back. Entry {taken_back.number}: {taken_back.reason} "
        "`polydistill promote --force --reason '…'` promotes it all the same."
    )
    return replace(verdict, outcome="refused", promoted=False, refused=True, reason=reason)


def reject(recorded: RecordedRegistry, *, by: str, reason: str) -> Entry:
    """Refuse the challenger in a person's name: the gate refuses it from now on, except by force.

    Raises:
        MissingDataError: There is no challenger, or it is champion already.
        LedgerError: The ledger was tampered with.
    """
    recorded.reconcile()
    version = recorded.aliases.get(CHALLENGER)
    if version is None or version == recorded.aliases.get(CHAMPION):
        raise MissingDataError(f"{recorded.name} has no challenger to reject.")
    said = f"Version {version} is refused by {by}: {reason}"
    return recorded.move("reject", {}, about=version, reason=said)


def rollback(
    recorded: RecordedRegistry,
    to: int | None = None,
    *,
    reason: str | None = None,
    force: bool = False,
) -> Rollback:
    """Make an earlier champion champion again, and the one it displaces `previous`.

    The challenger stays. Rolled back twice, it goes back twice, never to what was rolled back from.

    Args:
        recorded: One registered model.
        to: The version; none: the latest earlier champion that still exists.
        reason: Why, for the ledger.
        force: Also to a version that was never champion.

    Raises:
        MissingDataError: There is no such version, or no earlier champion that exists.
        ParamsError: The version is champion already, or never was without `force`.
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
                f"{shown(current)}.{gone} `--to V` names a version."
            )
    _require_candidate(recorded, to, current, force=force)
    why = f": {reason.strip().rstrip('.')}" if reason else ""
    parts = [f"Rolled back from {shown(current)} to {to}{why}."]
    if skipped:
        parts.append(f"Skipped, as they do not exist any more: {', '.join(map(str, skipped))}.")
    text = " ".join(parts)
    entry = recorded.move("rollback", _crowned(recorded, to), about=to, reason=text)
    return Rollback(recorded.name, to, current, skipped, entry.number, text)


def _latest_champion(
    recorded: RecordedRegistry, but: int | None
) -> tuple[int | None, tuple[int, ...]]:
    """Return the latest champion but one that still exists, if any, and the later ones that do not."""
    existing, skipped = recorded.registry.versions(), list[int]()
    for version in reversed(champions(recorded.entries)):
        if version == but:
            continue
        if version in existing:
            return version, tuple(skipped)
        skipped.append(version)
    return None, tuple(skipped)


def _require_candidate(
    recorded: RecordedRegistry, to: int, current: int | None, *, force: bool
) -> None:
    existing = recorded.registry.versions()
    if to not in existing:
        known = ", ".join(map(str, sorted(existing))) or "none"
        raise MissingDataError(f"{recorded.name} has no version {to}. Known: {known}.")
    if to == current:
        raise ParamsError(f"Version {to} of {recorded.name} is champion already.")
    if not force and not was_champion(recorded.entries, to):
        known = ", ".join(map(str, champions(recorded.entries))) or "none"
        raise ParamsError(
            f"Version {to} of {recorded.name} was never champion. Champions: {known}. "
            "`--force` takes it all the same."
        )


def _crowned(recorded: RecordedRegistry, version: int) -> dict[str, int | None]:
    """Return the aliases once a version is champion; `previous` is whatever was champion before."""
    old = recorded.aliases.get(CHAMPION)
    return {CHAMPION: version} if old is None else {PREVIOUS: old, CHAMPION: version}
