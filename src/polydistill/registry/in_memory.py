"""A registry without a service, for tests and first steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from polydistill.registry.gate import Candidate


class InMemoryRegistry:
    """See `promotion.ModelRegistry`."""

    def __init__(self, name: str, candidates: Iterable[Candidate] = ()) -> None:
        self.name = name
        self.candidates = {candidate.version: candidate for candidate in candidates}
        self.aliases: dict[str, int] = {}
        self.tags: dict[int, dict[str, str]] = {}

    def version(self, alias: str) -> int | None:
        """See `promotion.ModelRegistry.version`."""
        return self.aliases.get(alias)

    def candidate(self, version: int) -> Candidate:
        """See `promotion.ModelRegistry.candidate`."""
        return self.candidates[version]

    def set_alias(self, alias: str, version: int) -> None:
        """See `promotion.ModelRegistry.set_alias`."""
        self.aliases[alias] = version

    def set_tags(self, version: int, tags: Mapping[str, str]) -> None:
        """See `promotion.ModelRegistry.set_tags`."""
        self.tags.setdefault(version, {}).update(tags)
