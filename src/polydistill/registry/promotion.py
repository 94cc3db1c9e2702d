"""Promotion: ask the gate, and move the aliases. What the registry is made of is not known here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from polydistill.errors import MissingDataError
from polydistill.params import GateParams
from polydistill.registry.evidence import Evidence
from polydistill.registry.gate import Candidate, Verdict, judge

CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous"
Gather = Callable[[Candidate, Candidate | None], Evidence]
"""Finds out about a challenger what the gate asks for; handed the champion too, if there is one."""


class ModelRegistry(Protocol):
    """The versions of one registered model, its aliases and its tags."""

    name: str

    def version(self, alias: str) -> int | None:
        """Return the version that an alias points to; none, if there is no such alias."""

    def candidate(self, version: int) -> Candidate:
        """Return what the gate looks at."""

    def set_alias(self, alias: str, version: int) -> None:
        """Let an alias point to a version, and to no other."""

    def set_tags(self, version: int, tags: Mapping[str, str]) -> None:
        """Add tags to a version; those of the same name are replaced."""


def promote(
    registry: ModelRegistry,
    policy: GateParams,
    *,
    dry_run: bool = False,
    gather: Gather | None = None,
) -> Verdict:
    """Let the gate judge the challenger; if it passes it is champion, and the old one `previous`.

    Args:
        registry: Of one registered model.
        policy: The gate's bounds.
        dry_run: Say the verdict and change nothing.
        gather: Brings the evidence; none: rules that need any are broken.

    Raises:
        MissingDataError: There is no challenger.
    """
    version = registry.version(CHALLENGER)
    if version is None:
        raise MissingDataError(
            f"{registry.name} has no version with the alias {CHALLENGER!r}: publish a student first."
        )
    old = registry.version(CHAMPION)
    champion = None if old is None else registry.candidate(old)
    challenger = registry.candidate(version)
    evidence = gather(challenger, champion) if gather is not None and version != old else None
    verdict = judge(policy, challenger, champion, evidence)
    if dry_run:
        return replace(verdict, dry_run=True)
    if verdict.promoted:
        if old is not None:
            registry.set_alias(PREVIOUS, old)  # first: whoever stops us here leaves a champion
        registry.set_alias(CHAMPION, version)
    if verdict.outcome != "unchanged":
        registry.set_tags(version, {"verdict": verdict.outcome, "verdict_reason": verdict.reason})
    return verdict
