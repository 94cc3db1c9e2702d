"""The gate: whether a challenger may take the champion's place. Numbers in, a verdict out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from polydistill.params import GateParams
from polydistill.scores import kind_means, mean_score

Outcome = Literal["promoted", "refused", "unchanged"]


@dataclass(frozen=True)
class Candidate:
    """A registered student, as the gate sees it.

    Attributes:
        version: Its number in the registry.
        student_sha256: Of its weights.
        scores: Task kind, task: main score.
        diverged: Whether its training left the finite numbers.
    """

    version: int
    student_sha256: str
    scores: Mapping[str, Mapping[str, float]]
    diverged: bool


@dataclass(frozen=True)
class RuleOutcome:
    """What one rule of the gate found.

    Attributes:
        name: The rule's.
        passed: Whether it lets the challenger through.
        value: The number that it looked at; none where there is nothing to measure.
        bound: The least value that passes.
        because: The finding, in a sentence for a person.
    """

    name: str
    passed: bool
    value: float | None
    bound: float | None
    because: str


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


def judge(policy: GateParams, challenger: Candidate, champion: Candidate | None) -> Verdict:
    """Hold a challenger against the champion, or against nothing if there is none.

    Every rule is applied, so that a refusal names all its reasons.
    """
    if champion is not None and champion.version == challenger.version:
        reason = f"Version {champion.version} is champion already."
        return _verdict("unchanged", reason, (), challenger, champion)
    rules = (_finite(challenger), _gain(policy, challenger, champion))
    failed = [rule.because for rule in rules if not rule.passed]
    if failed:
        reason = f"Version {challenger.version} is refused: {' '.join(failed)}"
        return _verdict("refused", reason, rules, challenger, champion)
    reason = f"Version {challenger.version} is promoted: {rules[-1].because}"
    return _verdict("promoted", reason, rules, challenger, champion)


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
    return RuleOutcome("finite", finite and not challenger.diverged, None, None, because)


def _gain(policy: GateParams, challenger: Candidate, champion: Candidate | None) -> RuleOutcome:
    """The mean over task kinds, of the tasks that both have, must rise by `min_gain` at least."""
    if champion is None:
        return RuleOutcome("gain", True, None, policy.min_gain, "there is no champion yet.")  # noqa: FBT003
    ours, theirs = _common(challenger.scores, champion.scores)
    if not ours:
        because = f"it shares no benchmark task with champion {champion.version}."
        return RuleOutcome("gain", False, None, policy.min_gain, because)  # noqa: FBT003
    means = kind_means({"challenger": ours, "champion": theirs}, {})
    new, old = mean_score(means["challenger"]), mean_score(means["champion"])
    gain = round(new - old, 6)  # scores have four decimals; the rest is how floats add up
    because = (
        f"its mean score is {new:.4f}, champion {champion.version} has {old:.4f}: "
        f"a gain of {gain:+.4f}, and {policy.min_gain:+.4f} is needed."
    )
    return RuleOutcome("gain", gain >= policy.min_gain, gain, policy.min_gain, because)


def _common(
    first: Mapping[str, Mapping[str, float]], second: Mapping[str, Mapping[str, float]]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Return both, with only the tasks that are in both."""
    shared = {
        kind: sorted(set(tasks) & set(second[kind]))
        for kind, tasks in first.items()
        if kind in second
    }
    sides = [
        {
            kind: {task: side[kind][task] for task in tasks}
            for kind, tasks in shared.items()
            if tasks
        }
        for side in (first, second)
    ]
    return sides[0], sides[1]
