"""The gate: whether a challenger may take the champion's place. Numbers in, a verdict out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from polydistill.config.operations import GateParams
from polydistill.registry.evidence import Candidate, Evidence
from polydistill.registry.quality import GAIN, champion_rules, undistilled_rules
from polydistill.registry.rules import RuleOutcome, budget_rules, stamp_rules

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
        champion: The version of the champion that it was compared with; none, if there was none.
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
    """Compare a challenger with the champion, or with nothing if there is none.

    Every rule that the policy asks for is applied, so that a refusal names all its reasons.

    Args:
        policy: The gate's bounds.
        challenger: The version that may become champion.
        champion: The present one.
        evidence: What was found out about the challenger; a rule whose evidence is missing is broken.
    """
    version, rules = challenger.version, tuple[RuleOutcome, ...]()
    outcome: Outcome = "unchanged"
    if champion is not None and champion.version == version:
        reason = f"Version {version} is champion already."
    else:
        found = evidence or Evidence()
        rules = (
            _finite(challenger),
            *champion_rules(policy, challenger, champion),
            *undistilled_rules(policy, challenger),
            *budget_rules(policy, found, first=champion is None),
            *stamp_rules(policy, found),
        )
        broken = [f"{one.task}: " * bool(one.task) + one.because for one in rules if not one.passed]
        outcome = "refused" if broken else "promoted"
        gain = next(rule.because for rule in rules if rule.name == GAIN)
        reason = f"Version {version} is {outcome}: {' '.join(broken) or gain}"
    return Verdict(
        outcome=outcome,
        promoted=outcome == "promoted",
        refused=outcome == "refused",
        reason=reason,
        rules=rules,
        challenger=version,
        champion=None if champion is None else champion.version,
        student_sha256=challenger.student_sha256,
    )


def _finite(challenger: Candidate) -> RuleOutcome:
    """Refuse a diverged student, and one without a finite score."""
    scores = [score for tasks in challenger.scores.values() for score in tasks.values()]
    finite = bool(scores) and all(map(math.isfinite, scores))
    if challenger.diverged:
        because = "its training diverged."
    elif not finite:
        because = "its scores are missing or not finite."
    else:
        because = "its training and all its scores are finite."
    return RuleOutcome("finite", finite and not challenger.diverged, because)
