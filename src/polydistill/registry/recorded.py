"""A registry whose every move is in its ledger first; what a crash or a person left different is repaired."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from polydistill.registry.evidence import Candidate
from polydistill.registry.ledger import (
    CHAMPION,
    FINDINGS,
    WITHDRAWN,
    Action,
    Entry,
    Ids,
    Moves,
    moved,
    replay,
    sealed,
    told,
)

SKEW = timedelta(seconds=1)
"""How far a clock may be behind the last entry without a warning."""
VERDICTS: Mapping[Action, str] = {
    "promote": "promoted",
    "refuse": "refused",
    "reject": WITHDRAWN,
    "force": "forced",
    "rollback": "restored",
}
_log = logging.getLogger(__name__)


class ModelRegistry(Protocol):
    """The versions of one registered model, its aliases and its tags."""

    name: str

    def aliases(self) -> dict[str, int]:
        """Return every alias and the version that it points to."""

    def versions(self) -> set[int]:
        """Return the versions that exist; deleted ones do not."""

    def candidate(self, version: int) -> Candidate:
        """Return what the gate looks at."""

    def ids(self, version: int) -> Ids:
        """Return what a version was made of."""

    def set_alias(self, alias: str, version: int | None) -> None:
        """Let an alias point to a version and to no other; none takes the alias away."""

    def set_tags(self, version: int, tags: Mapping[str, str]) -> None:
        """Add tags to a version; those of the same name are replaced."""


@dataclass(frozen=True)
class LedgerContent:
    """What is in a ledger.

    Attributes:
        entries: All of them, checked.
        applied: The number of the last one that is known to be in the registry.
    """

    entries: tuple[Entry, ...] = ()
    applied: int = 0


class LedgerStore(Protocol):
    """The storage of a ledger."""

    def read(self) -> LedgerContent:
        """Return the ledger, and change nothing.

        Raises:
            LedgerError: It was tampered with.
        """

    def settle(self, content: LedgerContent) -> list[str]:
        """Bring every copy up to what `read` returned, and return what was done, a sentence each."""

    def append(self, entry: Entry) -> None:
        """Keep an entry: wholly and durably, or not at all."""

    def mark_applied(self, number: int) -> None:
        """Record that the registry has the moves of the entries up to this one."""

    def verify(self) -> None:
        """Check every copy, also those that `read` can do without.

        Raises:
            LedgerError: One of them was tampered with.
        """


@dataclass(frozen=True)
class Repair:
    """What has to be done before registry and ledger agree.

    Attributes:
        pending: The last entry, if the registry may not have it.
        heals: What of its moves the registry lacks; a subset of them.
        found: What moved without the ledger.
        reason: The same for a person; empty where nothing has.
    """

    pending: Entry | None
    heals: Moves
    found: Moves
    reason: str


class RecordedRegistry:
    """One model's registry together with its ledger. One process at a time may hold it.

    Args:
        registry: The model's.
        store: Keeps its ledger.
        who: Named in the entries that are written here.
        now: The clock.
        notify: Called with what was repaired.

    Attributes:
        healed: The entry of a stopped process whose moves were made here.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        store: LedgerStore,
        *,
        who: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        notify: Callable[[str], None] = _log.warning,
    ) -> None:
        self.registry = registry
        self.name = registry.name
        self.entries: tuple[Entry, ...] = ()
        self.aliases: dict[str, int] = {}
        self.healed: Entry | None = None
        self._store, self._who, self._now, self._notify = store, who, now, notify

    def reconcile(self, *, dry_run: bool = False) -> None:
        """Read both and make them agree: every command begins with this.

        An entry that the registry has only in part, as its writer was stopped, is applied. What else
        differs was moved by others: that is recorded as `external`, and stays. A registry without a
        ledger gets one, which begins with the aliases as found.

        Args:
            dry_run: Write nothing and report what would be done; `aliases` are as they would be.

        Raises:
            LedgerError: The ledger was tampered with.
        """
        content = self._store.read()
        self.entries = content.entries
        actual, existing = self.registry.aliases(), self.registry.versions()
        repair = plan_repair(content, actual, existing)
        self.healed = repair.pending if repair.heals else None
        self.aliases = moved(actual, repair.heals)
        if dry_run:
            if repair.heals and repair.pending is not None:
                self._notify(f"Would repair: {_healed(repair.pending, repair.heals)}")
            if repair.found and self.entries:
                self._notify(f"{repair.reason} Would be recorded as external.")
            return
        for notice in self._store.settle(content):
            self._notify(notice)
        self._carry_out(repair)

    def verify(self) -> None:
        """See `LedgerStore.verify`."""
        self._store.verify()

    def move(
        self,
        action: Action,
        targets: Mapping[str, int | None],
        *,
        about: int,
        reason: str,
        verdict: str | None = None,
    ) -> Entry:
        """Enter a move, make it, and note that it was made; in this order, so that a crash can be repaired.

        Args:
            action: What is done.
            targets: Alias: the version it is to point to; those that point there already are left out.
            about: The version that it is about.
            reason: For a person.
            verdict: The gate's.
        """
        moves = {
            alias: (self.aliases.get(alias), new)
            for alias, new in targets.items()
            if self.aliases.get(alias) != new
        }
        entry = self._append(action, moves, self.registry.ids(about), reason, verdict)
        self._apply(entry, moves)
        return entry

    def _carry_out(self, repair: Repair) -> None:
        if (pending := repair.pending) is not None:
            self._apply(pending, repair.heals)
        if pending is not None and repair.heals:
            reason = _healed(pending, repair.heals)
            self._notify(reason)
            self._append("heal", {}, pending.ids, reason, None)
        if not self.entries:
            reason = "The ledger begins with the aliases as found."
            self._append("first", repair.found, Ids(), reason, None)
        elif repair.found:
            self._notify(f"{repair.reason} The ledger records it as external.")
            self._append("external", repair.found, Ids(), repair.reason, None)

    def _append(
        self,
        action: Action,
        moves: Moves,
        ids: Ids,
        reason: str,
        verdict: str | None,
    ) -> Entry:
        when = self._now().astimezone(UTC)
        latest = max((entry.moment for entry in self.entries), default=when)
        if latest - when > SKEW:
            self._notify(
                f"The clock here says {when.isoformat(timespec='seconds')}, and {self.name}'s ledger has an "
                f"entry of {latest.isoformat(timespec='seconds')}: one of the clocks is wrong. "
                "The entries' order is what counts."
            )
        entry = sealed(
            self.entries,
            when=when.isoformat(timespec="milliseconds"),
            who=f"unknown, noticed by {self._who}" if action == "external" else self._who,
            model=self.name,
            action=action,
            moves=dict(moves),
            verdict=verdict,
            reason=reason,
            ids=ids,
        )
        self._store.append(entry)
        self.entries = (*self.entries, entry)
        self.aliases = moved(self.aliases, entry.moves)
        if action in FINDINGS:
            self._store.mark_applied(entry.number)
        return entry

    def _apply(self, entry: Entry, moves: Moves) -> None:
        """Make the moves, the champion's last, tag whom they concern with the verdict, and note it."""
        for alias in sorted(moves, key=lambda alias: (alias == CHAMPION, alias)):
            self.registry.set_alias(alias, moves[alias][1])
        existing = self.registry.versions()
        for version, verdict in _verdicts(entry).items():
            if version in existing:
                tags = {"verdict": verdict, "verdict_reason": entry.reason}
                self.registry.set_tags(version, tags)
        self._store.mark_applied(entry.number)


def _verdicts(entry: Entry) -> dict[int, str]:
    """Return what the tags of the versions say that an entry concerns."""
    found = {}
    displaced, _ = entry.moves.get(CHAMPION, (None, None))
    if entry.action == "rollback" and displaced is not None:
        found[displaced] = WITHDRAWN
    if entry.action in VERDICTS and entry.ids.version is not None:
        found[entry.ids.version] = VERDICTS[entry.action]
    return found


def plan_repair(content: LedgerContent, actual: Mapping[str, int], existing: set[int]) -> Repair:
    """Return what makes ledger and registry agree; changes nothing.

    Args:
        content: The ledger.
        actual: The registry's aliases.
        existing: The versions that exist.
    """
    last = content.entries[-1] if content.entries else None
    pending = last if last and last.number > content.applied else None
    heals: Moves = {}
    if pending is not None and pending.action not in FINDINGS:
        heals = {
            alias: (old, new)
            for alias, (old, new) in pending.moves.items()
            if actual.get(alias) == old != new and (new is None or new in existing)
        }
    expected = replay(content.entries)
    after = moved(actual, heals)
    found = {
        alias: (expected.get(alias), after.get(alias))
        for alias in sorted(expected.keys() | after.keys())
        if expected.get(alias) != after.get(alias)
    }
    return Repair(pending, heals, found, _external(found, existing) if found else "")


def _healed(entry: Entry, moves: Moves) -> str:
    return (
        f"Entry {entry.number} ({entry.action}) was in the ledger and not completely in the registry, because its "
        f"process was stopped between the two: {told(moves)} is applied."
    )


def _external(found: Moves, existing: set[int]) -> str:
    """Describe what moved, and why if that is known."""
    gone = {old for old, new in found.values() if new is None and old and old not in existing}
    parts = [
        f"Moved outside of polydistill: {told(found)}.",
        *(f"Version {old} does not exist any more." for old in sorted(gone)),
    ]
    if CHAMPION in found and found[CHAMPION][1] is None:
        parts.append("There is no champion: `polydistill rollback` brings the last one back.")
    return " ".join(parts)
