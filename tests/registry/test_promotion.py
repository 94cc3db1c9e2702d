from __future__ import annotations

import pytest

from polydistill.errors import MissingDataError
from polydistill.params import GateParams
from polydistill.registry.gate import Candidate
from polydistill.registry.in_memory import InMemoryRegistry
from polydistill.registry.promotion import promote

POLICY = GateParams(min_gain=0.0)


@pytest.fixture
def registry() -> InMemoryRegistry:
    """Four versions, the third better and the fourth worse than the second; no alias."""
    scores = {1: 0.5, 2: 0.5, 3: 0.6, 4: 0.4}
    return InMemoryRegistry(
        "student-text",
        (Candidate(v, f"sha-{v}", {"sts": {"a": s}}, diverged=False) for v, s in scores.items()),
    )


def challenge(registry: InMemoryRegistry, version: int) -> str:
    registry.set_alias("challenger", version)
    return promote(registry, POLICY).outcome


def test_without_a_challenger_there_is_nothing_to_judge(registry: InMemoryRegistry) -> None:
    with pytest.raises(MissingDataError, match="publish"):
        promote(registry, POLICY)


def test_the_old_champion_is_kept_as_previous(registry: InMemoryRegistry) -> None:
    outcomes = [challenge(registry, version) for version in (1, 2, 3)]

    assert outcomes == ["promoted"] * 3
    assert registry.aliases == {"challenger": 3, "champion": 3, "previous": 2}


def test_a_refusal_moves_no_alias_and_says_why_on_the_version(registry: InMemoryRegistry) -> None:
    challenge(registry, 3)

    outcome = challenge(registry, 4)

    assert outcome == "refused"
    assert registry.aliases == {"challenger": 4, "champion": 3}
    assert registry.tags[4]["verdict"] == "refused"
    assert "0.4000" in registry.tags[4]["verdict_reason"]


def test_promoting_a_champion_again_changes_nothing(registry: InMemoryRegistry) -> None:
    challenge(registry, 1)
    challenge(registry, 3)
    before = (dict(registry.aliases), dict(registry.tags))

    outcome = promote(registry, POLICY).outcome

    assert outcome == "unchanged"
    assert (registry.aliases, registry.tags) == before


def test_a_dry_run_says_the_verdict_and_changes_nothing(registry: InMemoryRegistry) -> None:
    registry.set_alias("challenger", 1)

    verdict = promote(registry, POLICY, dry_run=True)

    assert verdict.promoted
    assert verdict.dry_run
    assert registry.aliases == {"challenger": 1}
    assert not registry.tags
