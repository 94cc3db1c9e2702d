"""The gate decides whether a challenger may replace the champion; its verdict is written to `promotion.json`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from polydistill.config.operations import GateParams
from polydistill.errors import DataError
from polydistill.registry.evidence import Candidate, Evidence
from polydistill.registry.quality import GAIN, champion_rules, undistilled_rules
from polydistill.registry.rules import RuleOutcome, budget_rules, stamp_rules

FILE = "promotion.json"
Outcome = Literal["promoted", "refused", "unchanged"]


@dataclass(frozen=True)
class Verdict:
    """The decision of the gate.

    Attributes:
        outcome: `promoted`, `refused`, or `unchanged` if the challenger is the champion already.
        promoted: Whether the champion changed; in a dry run, whether it would have.
        refused: Whether a rule refused the challenger.
        reason: A sentence that explains the outcome.
        rules: The outcome of every rule, passed or not, in order.
        challenger: The version of the challenger.
        champion: The version of the champion that it was compared with. None: there was no champion.
        student_sha256: The sha256 of the challenger's weights.
        dry_run: Whether no alias was moved.
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

    def changed_to(self, outcome: Outcome, reason: str) -> Verdict:
        """Return the verdict with another outcome, decided by a person or by the ledger."""
        promoted, refused = outcome == "promoted", outcome == "refused"
        return replace(self, outcome=outcome, promoted=promoted, refused=refused, reason=reason)


@dataclass(frozen=True)
class Promotion(Verdict):
    """The content of `promotion.json`: a verdict and the policy that was applied.

    Attributes:
        format: The version of the file format.
        policy: The gate's bounds at that time.
    """

    format: Literal[1] = 1
    policy: GateParams | None = None


def promotion_json(verdict: Verdict, policy: GateParams) -> str:
    """Return the text of `promotion.json`. The same verdict gives the same bytes: no time, host or path."""
    promotion = Promotion(**vars(verdict), policy=policy)
    tree = TypeAdapter(Promotion).dump_python(promotion, mode="json")
    return json.dumps(tree, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def read_promotion(text: str) -> Promotion:
    """Return the content of a `promotion.json`.

    Raises:
        DataError: The file is damaged, or has another format.
    """
    try:
        return TypeAdapter(Promotion).validate_json(text)
    except ValidationError as error:
        raise DataError(f"{FILE} does not fit its schema: {error}") from error


def schema() -> dict[str, Any]:
    """Return the JSON schema of `promotion.json`."""
    return TypeAdapter(Promotion).json_schema()


def judge(
    policy: GateParams,
    challenger: Candidate,
    champion: Candidate | None,
    evidence: Evidence | None = None,
) -> Verdict:
    """Compare a challenger with the champion.

    Every rule of the policy is applied, so that a refusal names all its reasons.

    Args:
        policy: The gate's bounds.
        challenger: The version that may become champion.
        champion: The present champion. None: there is no champion.
        evidence: Measurements of the challenger; a rule without its measurement is broken.
    """
    version = challenger.version
    verdict = Verdict(
        outcome="unchanged",
        promoted=False,
        refused=False,
        reason=f"Version {version} is champion already.",
        rules=(),
        challenger=version,
        champion=None if champion is None else champion.version,
        student_sha256=challenger.student_sha256,
    )
    if verdict.champion == version:
        return verdict
    found = evidence or Evidence()
    rules = (
        _finite(challenger),
        *champion_rules(policy, challenger, champion),
        *undistilled_rules(policy, challenger),
        *budget_rules(policy, found, first=champion is None),
        *stamp_rules(policy, found),
    )
    broken = [f"{one.task}: " * bool(one.task) + one.because for one in rules if not one.passed]
    outcome: Outcome = "refused" if broken else "promoted"
    gain = next(rule.because for rule in rules if rule.name == GAIN)
    reason = f"Version {version} is {outcome}: {' '.join(broken) or gain}"
    return replace(verdict.changed_to(outcome, reason), rules=rules)


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
