"""A registry that writes each move to a ledger first.

The ledger makes it possible to complete interrupted moves, and to detect and record moves by other tools.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from polydistill.registry import ledger
from polydistill.registry.evidence import Candidate
from polydistill.registry.ledger import CHAMPION, WITHDRAWN, Action, Entry, Ids, Moves

SKEW = timedelta(seconds=1)
"""How far the clock may be behind the latest entry without a warning."""
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
        """Return the existing versions, without deleted ones."""

    def candidate(self, version: int) -> Candidate:
        """Return the scores of a version for the gate."""

    def ids(self, version: int) -> Ids:
        """Return the identifiers of a version and of its origin."""

    def set_alias(self, alias: str, version: int | None) -> None:
        """Point an alias to a version. None removes the alias."""

    def set_tags(self, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version. Its other tags do not change."""


@dataclass(frozen=True)
class LedgerContent:
    """The content of a ledger.

    Attributes:
        entries: All entries, after validation.
        applied: The number of the last entry whose moves are known to be in the registry.
    """

    entries: tuple[Entry, ...] = ()
    applied: int = 0


class LedgerStore(Protocol):
    """The storage of a ledger."""

    def read(self) -> LedgerContent:
        """Return the ledger without changing anything.

        Raises:
            LedgerError: The ledger was tampered with.
        """

    def settle(self, entries: Sequence[Entry]) -> list[str]:
        """Add missing entries to every copy of the ledger. Return one message per repair."""

    def append(self, entry: Entry) -> None:
        """Store an entry durably, completely or not at all."""

    def mark_applied(self, number: int) -> None:
        """Record that the moves of all entries up to this number are made in the registry."""

    def verify(self) -> None:
        """Check every copy, including those that `read` did not need.

        Raises:
            LedgerError: A copy was tampered with.
        """


@dataclass
class RecordedRegistry:
    """The registry of one model and its ledger. Only one process may use it at a time.

    Attributes:
        registry: The model's registry.
        store: The storage of its ledger.
        who: The author of the entries that this process writes.
        now: Returns the current time.
        notify: Called with a message about each repair.
        entries: The ledger, after `reconcile`.
        aliases: The aliases, after `reconcile`. In a dry run: the aliases that it would leave.
        healed: The entry of an interrupted process whose moves `reconcile` completed. None: there is none.
    """

    registry: ModelRegistry
    store: LedgerStore
    _: KW_ONLY
    who: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    notify: Callable[[str], None] = _log.warning
    entries: tuple[Entry, ...] = field(default=(), init=False)
    aliases: dict[str, int] = field(default_factory=dict, init=False)
    healed: Entry | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """The name of the registered model."""
        return self.registry.name

    def reconcile(self, *, dry_run: bool = False) -> None:
        """Make the registry and the ledger agree. Every command calls this first.

        If a process stopped before it had made all moves of its last entry, the missing moves are made. All other
        differences were made outside of polydistill. They are kept, and recorded as `external`. If there is no ledger,
        one is created that begins with the current aliases.

        Args:
            dry_run: Report what would be done, without writing anything.

        Raises:
            LedgerError: The ledger was tampered with.
        """
        content = self.store.read()
        self.entries = content.entries
        actual, existing = self.registry.aliases(), self.registry.versions()
        pending, heals = _pending(content, actual, existing)
        self.healed = pending if heals else None
        self.aliases = ledger.moved(actual, heals)
        expected = ledger.replay(self.entries)
        found = {
            alias: (expected.get(alias), self.aliases.get(alias))
            for alias in sorted(expected.keys() | self.aliases.keys())
            if expected.get(alias) != self.aliases.get(alias)
        }
        reason = "The ledger begins with the aliases as found."
        if self.healed is not None:
            self.notify("Would repair: " * dry_run + _healed(self.healed, heals))
        if found and self.entries:
            reason = _external(found, existing)
            recorded = "Would be recorded" if dry_run else "The ledger records it"
            self.notify(f"{reason} {recorded} as external.")
        if not dry_run:
            self._carry_out(pending, heals, found, reason)

    def _carry_out(self, pending: Entry | None, heals: Moves, found: Moves, reason: str) -> None:
        for notice in self.store.settle(self.entries):
            self.notify(notice)
        if pending is not None:
            self._apply(pending, heals)
        if self.healed is not None:
            self._append("heal", {}, self.healed.ids, _healed(self.healed, heals))
        if found or not self.entries:
            self._append("external" if self.entries else "first", found, Ids(), reason)

    def move(
        self,
        action: Action,
        targets: Mapping[str, int | None],
        *,
        about: int,
        reason: str,
        verdict: str | None = None,
    ) -> Entry:
        """Write an entry, make its moves, and mark it as applied. This order allows repair after a crash.

        Args:
            action: The action of the entry.
            targets: New version by alias. An alias that has its version already is not moved.
            about: The version that the entry is about.
            reason: A human-readable explanation.
            verdict: The gate's verdict. None: the gate did not judge.
        """
        moves = {
            alias: (self.aliases.get(alias), new)
            for alias, new in targets.items()
            if self.aliases.get(alias) != new
        }
        entry = self._append(action, moves, self.registry.ids(about), reason, verdict)
        self._apply(entry, moves)
        return entry

    def _append(
        self, action: Action, moves: Moves, ids: Ids, reason: str, verdict: str | None = None
    ) -> Entry:
        when = self.now().astimezone(UTC)
        latest = max((entry.moment for entry in self.entries), default=when)
        if latest - when > SKEW:
            self.notify(
                f"The clock here says {when.isoformat(timespec='seconds')}, and {self.name}'s ledger has an "
                f"entry of {latest.isoformat(timespec='seconds')}: one of the clocks is wrong. "
                "The entries' order is what counts."
            )
        entry = ledger.sealed(
            self.entries,
            when=when.isoformat(timespec="milliseconds"),
            who=f"unknown, noticed by {self.who}" if action == "external" else self.who,
            model=self.name,
            action=action,
            moves=dict(moves),
            verdict=verdict,
            reason=reason,
            ids=ids,
        )
        self.store.append(entry)
        self.entries = (*self.entries, entry)
        self.aliases = ledger.moved(self.aliases, entry.moves)
        if action in ledger.FINDINGS:
            self.store.mark_applied(entry.number)
        return entry

    def _apply(self, entry: Entry, moves: Moves) -> None:
        """Make the moves (`champion` last), set the verdict tags, and mark the entry as applied."""
        for alias in sorted(moves, key=lambda alias: (alias == CHAMPION, alias)):
            self.registry.set_alias(alias, moves[alias][1])
        verdicts = {entry.ids.version: VERDICTS.get(entry.action)}
        if entry.action == "rollback" and CHAMPION in entry.moves:
            verdicts = {entry.moves[CHAMPION][0]: WITHDRAWN, **verdicts}
        existing = self.registry.versions()
        for version, verdict in verdicts.items():
            if version in existing and verdict is not None:
                tags = {"verdict": verdict, "verdict_reason": entry.reason}
                self.registry.set_tags(version, tags)
        self.store.mark_applied(entry.number)


def _pending(
    content: LedgerContent, actual: Mapping[str, int], existing: Collection[int]
) -> tuple[Entry | None, Moves]:
    """Return the last entry if it is not marked as applied, and its moves that the registry lacks."""
    last = content.entries[-1] if content.entries else None
    if last is None or last.number <= content.applied:
        return None, {}
    if last.action in ledger.FINDINGS:
        return last, {}
    return last, {
        alias: (old, new)
        for alias, (old, new) in last.moves.items()
        if actual.get(alias) == old != new and (new is None or new in existing)
    }


def _healed(entry: Entry, moves: Moves) -> str:
    return (
        f"Entry {entry.number} ({entry.action}) was in the ledger and not completely in the registry, because its "
        f"process was stopped between the two: {ledger.describe_moves(moves)} is applied."
    )


def _external(found: Moves, existing: Collection[int]) -> str:
    """Describe moves that were made outside of polydistill."""
    gone = {old for old, new in found.values() if new is None and old and old not in existing}
    parts = [
        f"Moved outside of polydistill: {ledger.describe_moves(found)}.",
        *(f"Version {old} does not exist any more." for old in sorted(gone)),
    ]
    if CHAMPION in found and found[CHAMPION][1] is None:
        parts.append("There is no champion: `polydistill rollback` brings the last one back.")
    return " ".join(parts)
