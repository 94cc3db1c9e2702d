"""The gate: whether a challenger may take the champion's place. Numbers in, a verdict out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from polydistill.config.operations import GateParams
from polydistill.registry.candidate import Candidate
from polydistill.registry.evidence import Evidence
from polydistill.registry.quality import GAIN, champion_rules, undistilled_rules
from polydistill.registry.rules import RuleOutcome, budget_rules, canary_rules, stamp_rules

__all__ = ["Candidate", "Outcome", "RuleOutcome", "Verdict", "judge"]
Outcome = Literal["promoted", "refused", "unchanged"]


@dataclass(frozen=True)
class Verdict:
    """What the gate said.

    Attributes:
        outcome: The challenger is champion now, was refused, or was champion before.
        promoted: Whether the champion changed; in a dry run, whether it would have.
        refused: Whether a rule refused the challenger.
        reason: The outcome, in a sentence for a person.
        rules: Every rule, passed or not, in order.
        challenger: Its version.
        champion: The version of the champion that it was held against; none, if there was none.
        student_sha256: The challenger's weights.
        dry_run: Whether nothing was moved.
    """

    outcome: Outcome
    promoted: bool
    refused: bool
    reason: str
    rules: tuple[RuleOutcome, ...]
    challenger: int
    champion: int | None
    student_sha256: str
    dry_run: bool = False


def judge(
    policy: GateParams,
    challenger: Candidate,
    champion: Candidate | None,
    evidence: Evidence | None = None,
) -> Verdict:
    """Hold a challenger against the champion, or against nothing if there is none.

    Every rule that the policy asks for is applied, so that a refusal names all its reasons.

    Args:
        policy: The gate's bounds.
        challenger: Who wants to be champion.
        champion: Who is.
        evidence: What was found out about the challenger; a rule whose evidence is missing is broken.
    """
    if champion is not None and champion.version == challenger.version:
        reason = f"Version {champion.version} is champion already."
        return _verdict("unchanged", reason, (), challenger, champion)
    found = evidence or Evidence()
    rules = (
        _finite(challenger),
        *champion_rules(policy, challenger, champion),
        *undistilled_rules(policy, challenger),
        *budget_rules(policy, found, first=champion is None),
        *stamp_rules(policy, found),
        *canary_rules(policy, found),
    )
    failed = [_told(rule) for rule in rules if not rule.passed]
    if failed:
        reason = f"Version {challenger.version} is refused: {' '.join(failed)}"
        return _verdict("refused", reason, rules, challenger, champion)
    gain = next(rule for rule in rules if rule.name == GAIN)
    reason = f"Version {challenger.version} is promoted: {gain.because}"
    return _verdict("promoted", reason, rules, challenger, champion)


def _told(rule: RuleOutcome) -> str:
    return rule.because if rule.task is None else f"{rule.task}: {rule.because}"


def _verdict(
    outcome: Outcome,
    reason: str,
    rules: tuple[RuleOutcome, ...],
    challenger: Candidate,
    champion: Candidate | None,
) -> Verdict:
    return Verdict(
        outcome=outcome,
        promoted=outcome == "promoted",
        refused=outcome == "refused",
        reason=reason,
        rules=rules,
        challenger=challenger.version,
        champion=None if champion is None else champion.version,
        student_sha256=challenger.student_sha256,
    )


def _finite(challenger: Candidate) -> RuleOutcome:
    """A diverged student, or one without a finite score, never passes."""
    scores = [score for tasks in challenger.scores.values() for score in tasks.values()]
    finite = bool(scores) and all(map(math.isfinite, scores))
    if challenger.diverged:
        because = "its training diverged."
    elif not finite:
        because = "its scores are missing or not finite."
    else:
        because = "its training and all its scores are finite."
    passed = finite and not challenger.diverged
    return RuleOutcome("finite", passed, None, None, because)
