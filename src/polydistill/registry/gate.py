"""The gate, which decides whether a challenger may replace the champion. `promotion.json` stores its verdict."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from polydistill.config.operations import GateParams
from polydistill.errors import DataError
from polydistill.registry.evidence import Candidate, Evidence, Finding, RuleOutcome
from polydistill.registry.quality import GAIN, champion_rules, undistilled_rules

FILE = "promotion.json"
UNKNOWN = "it was not measured: the version was published without evidence. Publish it again."
AND, OR = re.compile(r"\s+AND\s+"), re.compile(r"\s+OR\s+")
Outcome = Literal["promoted", "refused", "unchanged"]


@dataclass(frozen=True)
class Verdict:
    """The decision of the gate.

    Attributes:
        outcome: `promoted`, `refused`, or `unchanged` if the challenger is the champion already.
        promoted: Whether the challenger became champion. In a dry run: whether it would have become champion.
        refused: Whether a rule refused the challenger.
        reason: A sentence that explains the outcome.
        rules: The outcomes of all rules, in order of application.
        challenger: The version of the challenger.
        champion: The version of the champion that the challenger was compared with. None: there was no champion.
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
        """Return a copy with another outcome, which a person or the ledger decided."""
        promoted, refused = outcome == "promoted", outcome == "refused"
        return replace(self, outcome=outcome, promoted=promoted, refused=refused, reason=reason)


@dataclass(frozen=True)
class Promotion(Verdict):
    """The content of `promotion.json`: a verdict and the policy that was applied.

    Attributes:
        format: The version of the file format.
        policy: The gate's bounds when the verdict was made.
    """

    format: Literal[1] = 1
    policy: GateParams | None = None


def promotion_json(verdict: Verdict, policy: GateParams) -> str:
    """Return the text of `promotion.json`. It is deterministic: it contains no time, host or path."""
    promotion = Promotion(**vars(verdict), policy=policy)
    tree = TypeAdapter(Promotion).dump_python(promotion, mode="json")
    return json.dumps(tree, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def read_promotion(text: str) -> Promotion:
    """Parse the text of `promotion.json`.

    Raises:
        DataError: The text is damaged or has another format.
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
    """Decide whether a challenger may replace the champion.

    Every rule of the policy is applied, so that a refusal lists all of its reasons.

    Args:
        policy: The gate's bounds.
        challenger: The version that may become champion.
        champion: The current champion. None: there is no champion.
        evidence: Measurements of the challenger. A rule fails if its measurement is missing.
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
    failed = [one for one in rules if not one.passed]
    broken = [
        f"{one.task}: " * bool(one.task) + _begun(one, first=one is failed[0]) for one in failed
    ]
    outcome: Outcome = "refused" if broken else "promoted"
    gain = next(rule.because for rule in rules if rule.name == GAIN)
    reason = f"Version {version} is {outcome}: {' '.join(broken) or gain}"
    return replace(verdict.changed_to(outcome, reason), rules=rules)


def _begun(rule: RuleOutcome, *, first: bool) -> str:
    """Return the sentences of a rule, which begin with a capital unless a colon precedes them."""
    return rule.because if first or rule.task else rule.because[0].upper() + rule.because[1:]


def _finite(challenger: Candidate) -> RuleOutcome:
    """Refuse a student whose training diverged, or whose scores are missing or not finite."""
    scores = [score for tasks in challenger.scores.values() for score in tasks.values()]
    finite = bool(scores) and all(map(math.isfinite, scores))
    if challenger.diverged:
        because = "its training diverged."
    elif not finite:
        because = "its scores are missing or not finite."
    else:
        because = "its training and all its scores are finite."
    return RuleOutcome("finite", finite and not challenger.diverged, because)


def budget_rules(policy: GateParams, evidence: Evidence, *, first: bool) -> Iterator[RuleOutcome]:
    """Apply the limits on latency, size and memory that the policy sets.

    Args:
        policy: The gate's bounds.
        evidence: Measurements of the challenger.
        first: Whether there is no champion to compare the latency with.
    """
    ratios = [(one.ratio, one.batch) for one in evidence.latency if one.ratio is not None]
    worst, batch = max(ratios, key=lambda one: one[0], default=(None, 0))
    times = f"it takes {{:.2f}} times the champion's time (batches of {batch})."
    one_ms = next((one.ms for one in evidence.latency if one.batch == 1), None)
    budgets = {
        "latency-ratio": (policy.max_latency_ratio, worst, times),
        "latency": (policy.max_latency_ms, one_ms, "one example takes {:.3f} ms."),
        "size": (policy.max_size_mb, evidence.size_mb, "the bundle has {:.1f} MB."),
        "memory": (policy.max_memory_mb, evidence.memory_mb, "a new process grows by {:.0f} MB."),
    }
    for name, (bound, value, sentence) in budgets.items():
        if bound is None:
            continue
        skipped = first and name == "latency-ratio"
        because = f"its {name} could not be measured: the bundle did not answer, or was not asked."
        if skipped:
            because = "skipped: there is no champion yet."
        elif value is not None:
            because = f"{sentence.format(value)} At most {bound:g} is allowed."
        passed = skipped or (value is not None and value <= bound)
        yield RuleOutcome(name, passed, because, value, bound, bound_is="most", skipped=skipped)


def stamp_rules(policy: GateParams, evidence: Evidence) -> Iterator[RuleOutcome]:
    """Apply the rules on data, teachers, provenance and the published bundle that the policy sets."""
    if policy.max_contamination is not None:
        yield _contamination(policy.max_contamination, evidence)
    if policy.data_validated:
        yield _found("data-validated", evidence.validation)
    if policy.reproducible != "any":
        yield _reproducible(policy, evidence.reproducible)
    if policy.licence_policy != "any":
        yield _licences(policy, evidence.licences)
    if policy.smoke_test:
        yield _found("smoke-test", evidence.smoke_test)


def allows(expression: str, known: Collection[str]) -> bool:
    """Return whether `known` contains every licence of at least one alternative (OR) of an SPDX expression.

    AND has precedence over OR, as in SPDX. Expressions with brackets or exceptions count as unknown.

    Examples:
        >>> allows("PDDL-1.0 AND Apache-2.0", {"Apache-2.0", "PDDL-1.0"})
        True
        >>> allows("CC-BY-NC-4.0 OR MIT", {"MIT"})
        True
        >>> allows("CC-BY-NC-4.0 AND MIT", {"MIT"})
        False
    """
    folded = {name.casefold() for name in known}
    return any(
        all(name.strip().casefold() in folded for name in AND.split(choice))
        for choice in OR.split(expression)
    )


def _found(name: str, finding: Finding | None) -> RuleOutcome:
    holds, because = (False, UNKNOWN) if finding is None else (finding.holds, finding.because)
    return RuleOutcome(name, holds, because)


def _contamination(bound: float, evidence: Evidence) -> RuleOutcome:
    """Limit the share of a task's examples that the corpus contains. The task with the largest share decides."""
    found, name = evidence.contamination, "not-contaminated"
    if found is None or not found.tasks:
        because = UNKNOWN if found is None else "there is no benchmark task to look for."
        return RuleOutcome(name, passed=False, because=because, bound=bound, bound_is="most")
    worst = max(sorted(found.tasks), key=lambda task: found.tasks[task])
    share = found.tasks[worst]
    corpus = f"the {found.n_corpus:,} of the corpus, by content or nearly"
    because = f"no benchmark example is among {corpus}."
    if share:
        because = (
            f"{found.n_overlapping:,} benchmark examples are among {corpus}, most of {worst} "
            f"({share:.2%}). At most {bound:.2%} of a task is allowed."
        )
    if found.labels_seen:
        seen = (f"{task} ({', '.join(names)})" for task, names in sorted(found.labels_seen.items()))
        because += f" Teachers were trained on the labels of {', '.join(seen)}."
    return RuleOutcome(name, share <= bound, because, round(share, 6), bound, bound_is="most")


def _reproducible(policy: GateParams, mark: bool | None) -> RuleOutcome:  # noqa: FBT001
    if mark is not None:
        because = f"it {'can' if mark else 'cannot'} be reproduced, according to its tag."
        return RuleOutcome("reproducible", mark, because)
    passed = policy.reproducible == "unless-refuted"
    because = f"it has no tag `reproducible`, which the policy {'allows' if passed else 'refuses'}."
    return RuleOutcome("reproducible", passed, because)


def _licences(policy: GateParams, licences: Mapping[str, str | None] | None) -> RuleOutcome:
    """Require that the policy allows the licences of all teachers."""
    if licences is None:
        return RuleOutcome("licence", passed=False, because=UNKNOWN)
    broken = [
        f"{teacher} is {licence}" if licence else f"{teacher} has no licence in params.yaml"
        for teacher, licence in sorted(licences.items())
        if licence is None or not allows(licence, policy.commercial_licences)
    ]
    known = "; ".join(sorted(f"{teacher} {licence}" for teacher, licence in licences.items()))
    because = f"all teachers allow commercial use: {known or 'none'}."
    if broken:
        because = f"not every teacher is known to allow commercial use: {'; '.join(broken)}."
    return RuleOutcome("licence", not broken, because)
