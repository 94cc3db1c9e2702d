"""The moves of a model's aliases: challenge, promote, roll back. What the registry is made of is not known here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from polydistill.config.operations import GateParams
from polydistill.errors import MissingDataError, ParamsError
from polydistill.registry.evidence import Evidence
from polydistill.registry.gate import Candidate, Verdict, judge
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
from polydistill.registry.recorded import ModelRegistry, RecordedRegistry

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "PREVIOUS",
    "Counsel",
    "ModelRegistry",
    "Rollback",
    "challenge",
    "promote",
    "reject",
    "rollback",
]

Gather = Callable[[Candidate, Candidate | None], Evidence]


@dataclass(frozen=True)
class Counsel:
    """What surrounds the gate: who finds out, and who keeps what it said.

    Attributes:
        gather: Finds out about a challenger what the policy asks for; handed the champion too, if there is
            one. None: rules that need evidence are broken.
        keep: Keeps the verdict with the challenger, before any alias moves: a crash loses no reason.
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
    """Let a version be challenger; nothing is written where it is.

    There is nothing to mend first, then: whoever promotes it next does that, and tells of it.
    """
    if recorded.registry.version(CHALLENGER) == version:
        return None
    recorded.reconcile()
    if recorded.aliases.get(CHALLENGER) == version:  # by a move that was mended just now
        return None
    reason = f"Version {version} is published."
    return recorded.move("challenge", {CHALLENGER: version}, about=version, reason=reason)


def promote(
    recorded: RecordedRegistry,
    policy: GateParams,
    counsel: Counsel | None = None,
    *,
    dry_run: bool = False,
    force: str | None = None,
    expect: int | None = None,
) -> Verdict:
    """Let the gate judge the challenger; if it passes it is champion, and the old one `previous`.

    A version that a rollback took out of its place is refused, whatever its numbers are.

    Args:
        recorded: One registered model.
        policy: The gate's bounds.
        counsel: Brings the evidence, and keeps the verdict.
        dry_run: Say the verdict, and write nothing at all.
        force: Why the challenger is promoted though it is refused.
        expect: The version that somebody has looked at: no other one is judged.

    Raises:
        MissingDataError: There is no challenger, or another one than was expected.
        ParamsError: `force` is empty.
        LedgerError: The ledger was tampered with.
    """
    counsel = counsel or Counsel()
    if force is not None and not force.strip():
        raise ParamsError("`--force` needs a reason, which the ledger keeps: --reason '…'.")
    recorded.reconcile(dry_run=dry_run)
    version = _challenger(recorded, expect)
    verdict = _judged(recorded, policy, version, counsel.gather)
    if verdict.outcome == "unchanged":
        return replace(_told_late(verdict, recorded.healed), dry_run=dry_run)
    forced = verdict.refused and force is not None
    if forced:
        reason = f"Version {version} is promoted by force: {force} The gate says: {verdict.reason}"
        verdict = replace(verdict, outcome="promoted", promoted=True, refused=False, reason=reason)
    if not dry_run:
        _enter(recorded, verdict, counsel, forced=forced)
    return replace(verdict, dry_run=dry_run)


def _enter(recorded: RecordedRegistry, verdict: Verdict, counsel: Counsel, *, forced: bool) -> None:
    """Keep a verdict, and make the moves that follow from it."""
    version, reason = verdict.challenger, verdict.reason
    if counsel.keep is not None:
        counsel.keep(verdict)
    if verdict.refused:
        recorded.move("refuse", {}, about=version, reason=reason, verdict="refused")
        return
    action: Action = "force" if forced else "promote"
    said = "refused" if forced else "promoted"
    recorded.move(action, _crowned(recorded, version), about=version, reason=reason, verdict=said)


def _told_late(verdict: Verdict, healed: Entry | None) -> Verdict:
    """Say of a champion whose alias was moved just now that it is promoted: who promoted it died before."""
    mended = healed is not None and healed.ids.version == verdict.challenger
    if healed is None or not mended or CHAMPION not in healed.moves:
        return verdict
    return replace(verdict, outcome="promoted", promoted=True, reason=healed.reason)


def _challenger(recorded: RecordedRegistry, expect: int | None) -> int:
    version = recorded.aliases.get(CHALLENGER)
    if version is None:
        raise MissingDataError(
            f"{recorded.name} has no version with the alias {CHALLENGER!r}: publish a student first."
        )
    if expect is not None and version != expect:
        raise MissingDataError(
            f"{recorded.name}'s challenger is version {version}, and version {expect} was expected: "
            "the alias has moved meanwhile, and nothing is promoted. Look at it and try again."
        )
    return version


def _judged(
    recorded: RecordedRegistry, policy: GateParams, version: int, gather: Gather | None
) -> Verdict:
    """Return what the gate says, and the ledger."""
    old = recorded.aliases.get(CHAMPION)
    if old is None:  # deleted, or its alias was: the one before it still is the mark
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
    """Refuse the challenger in a person's name: the gate lets it pass no more, except by force.

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
        to, skipped = _earlier_champion(recorded, current)
    _require_candidate(recorded, to, current, force=force)
    why = f": {reason.strip().rstrip('.')}" if reason else ""
    parts = [f"Rolled back from {shown(current)} to {to}{why}."]
    if skipped:
        parts.append(f"Skipped, as they do not exist any more: {', '.join(map(str, skipped))}.")
    text = " ".join(parts)
    entry = recorded.move("rollback", _crowned(recorded, to), about=to, reason=text)
    return Rollback(recorded.name, to, current, skipped, entry.number, text)


def _earlier_champion(
    recorded: RecordedRegistry, current: int | None
) -> tuple[int, tuple[int, ...]]:
    """Return the latest earlier champion that exists, and the later ones that do not."""
    found, skipped = _latest_champion(recorded, current)
    if found is not None:
        return found, skipped
    gone = f" Deleted since: {', '.join(map(str, skipped))}." if skipped else ""
    raise MissingDataError(
        f"{recorded.name} has no earlier champion to go back to; champion is {shown(current)}.{gone} "
        "`--to V` names a version."
    )


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
        raise MissingDataError(
            f"{recorded.name} has no version {to}. Known: {_listed(sorted(existing))}."
        )
    if to == current:
        raise ParamsError(f"Version {to} of {recorded.name} is champion already.")
    if not force and not was_champion(recorded.entries, to):
        raise ParamsError(
            f"Version {to} of {recorded.name} was never champion. Champions: "
            f"{_listed(champions(recorded.entries))}. `--force` takes it all the same."
        )


def _listed(versions: Sequence[int]) -> str:
    return ", ".join(map(str, versions)) or "none"


def _crowned(recorded: RecordedRegistry, version: int) -> dict[str, int | None]:
    """Return the aliases once a version is champion; `previous` is whatever was champion before."""
    old = recorded.aliases.get(CHAMPION)
    return {CHAMPION: version} if old is None else {PREVIOUS: old, CHAMPION: version}
