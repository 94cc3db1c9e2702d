"""A registry and a ledger without a service, for tests and first steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from polydistill.registry.evidence import Candidate
from polydistill.registry.ledger import Entry, Ids
from polydistill.registry.recorded import LedgerContent


class InMemoryRegistry:
    """See `recorded.ModelRegistry`."""

    def __init__(self, name: str, candidates: Iterable[Candidate] = ()) -> None:
        self.name = name
        self.candidates = {candidate.version: candidate for candidate in candidates}
        self.tags: dict[int, dict[str, str]] = {}
        self._aliases: dict[str, int] = {}

    def aliases(self) -> dict[str, int]:
        """See `recorded.ModelRegistry.aliases`."""
        return dict(self._aliases)

    def versions(self) -> set[int]:
        """See `recorded.ModelRegistry.versions`."""
        return set(self.candidates)

    def candidate(self, version: int) -> Candidate:
        """See `recorded.ModelRegistry.candidate`."""
        return self.candidates[version]

    def ids(self, version: int) -> Ids:
        """See `recorded.ModelRegistry.ids`."""
        return Ids(version=version, student_sha256=self.candidates[version].student_sha256)

    def set_alias(self, alias: str, version: int | None) -> None:
        """See `recorded.ModelRegistry.set_alias`."""
        if version is None:
            self._aliases.pop(alias, None)
        else:
            self._aliases[alias] = self.candidates[version].version

    def set_tags(self, version: int, tags: Mapping[str, str]) -> None:
        """See `recorded.ModelRegistry.set_tags`."""
        self.tags.setdefault(version, {}).update(tags)

    def delete(self, version: int) -> None:
        """Delete a version, and with it the aliases that point to it, as MLflow does."""
        del self.candidates[version]
        self._aliases = {a: v for a, v in self._aliases.items() if v != version}


class InMemoryLedger:
    """See `recorded.LedgerStore`."""

    def __init__(self) -> None:
        self.book = LedgerContent()

    def read(self) -> LedgerContent:
        """See `recorded.LedgerStore.read`."""
        return self.book

    def settle(self, entries: Sequence[Entry]) -> list[str]:
        """See `recorded.LedgerStore.settle`: there is one copy."""
        assert tuple(entries) == self.book.entries
        return []

    def append(self, entry: Entry) -> None:
        """See `recorded.LedgerStore.append`."""
        self.book = LedgerContent((*self.book.entries, entry), self.book.applied)

    def mark_applied(self, number: int) -> None:
        """See `recorded.LedgerStore.mark_applied`."""
        self.book = LedgerContent(self.book.entries, number)

    def verify(self) -> None:
        """See `recorded.LedgerStore.verify`: there is one copy, and `read` gives it."""
