"""A registry in memory with a ledger, a clock that is set by hand, and writes that can be cut off."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from polydistill.registry.ledger import Entry
from polydistill.registry.recorded import RecordedRegistry
from tests.registry.examples import scored
from tests.registry.in_memory import InMemoryLedger, InMemoryRegistry

START = datetime(2026, 1, 30, 23, 0, tzinfo=UTC)
SCORES = {1: 0.5, 2: 0.5, 3: 0.6, 4: 0.4}


class Killed(BaseException):
    """The process died here."""


class Fuse:
    """Lets so many writes through, and kills at the next; None: all of them."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        if self.left is None:
            return
        if self.left == 0:
            self.left = None
            raise Killed
        self.left -= 1


class FusedRegistry(InMemoryRegistry):
    fuse: Fuse

    def set_alias(self, alias: str, version: int | None) -> None:
        self.fuse.burn()
        super().set_alias(alias, version)

    def set_tags(self, version: int, tags: Mapping[str, str]) -> None:
        self.fuse.burn()
        super().set_tags(version, tags)


class FusedLedger(InMemoryLedger):
    fuse: Fuse

    def append(self, entry: Entry) -> None:
        self.fuse.burn()
        super().append(entry)

    def mark_applied(self, number: int) -> None:
        self.fuse.burn()
        super().mark_applied(number)


class Desk:
    """One model with versions 1 to 4, the third better and the fourth worse than the others; no alias.

    Each `open()` is what a new process holds.
    """

    def __init__(self) -> None:
        self.fuse = Fuse()
        self.registry = FusedRegistry(
            "student-text", (scored(v, {"sts": {"a": score}}) for v, score in SCORES.items())
        )
        self.ledger = FusedLedger()
        self.registry.fuse = self.ledger.fuse = self.fuse
        self.time = START
        self.notices: list[str] = []

    def open(self) -> RecordedRegistry:
        return RecordedRegistry(
            self.registry, self.ledger, who="ada", now=self._tick, notify=self.notices.append
        )

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self.ledger.book.entries

    @property
    def actions(self) -> list[str]:
        return [entry.action for entry in self.entries]

    def _tick(self) -> datetime:
        self.time += timedelta(minutes=1)
        return self.time
