"""The outcome of a rule of the gate, and the rules on budgets, data, licences, provenance and the smoke test."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from polydistill.config.operations import GateParams
from polydistill.registry.evidence import Evidence, Finding

UNKNOWN = "it was not measured: the version was published without evidence. Publish it again."
AND, OR = re.compile(r"\s+AND\s+"), re.compile(r"\s+OR\s+")


@dataclass(frozen=True)
class RuleOutcome:
    """The outcome of one rule of the gate.

    Attributes:
        name: The name of the rule.
        passed: Whether the challenger passes the rule.
        because: A sentence that explains the outcome.
        value: The measured number. None: there is none.
        bound: The least or the greatest value that passes.
        interval: The confidence interval of `value`.
        bound_is: Whether `bound` is the `least` or the greatest (`most`) value.
        task: The benchmark task, for a rule that is applied to each task.
        skipped: Whether the rule passed because there was nothing to compare with.
    """

    name: str
    passed: bool
    because: str
    value: float | None = None
    bound: float | None = None
    interval: tuple[float, float] | None = None
    bound_is: Literal["least", "most"] = "least"
    task: str | None = None
    skipped: bool = False


def budget_rules(policy: GateParams, evidence: Evidence, *, first: bool) -> Iterator[RuleOutcome]:
    """Apply the limits on time, size and memory that the policy sets.

    Args:
        policy: The gate's bounds.
        evidence: Measurements of the challenger.
        first: Whether there is no champion whose time could be compared.
    """
    ratios = [(one.ratio, one.batch) for one in evidence.latency if one.ratio is not None]
    worst, batch = max(ratios, key=lambda one: one[0], default=(None, 0))
    budgets = {
        "latency-ratio": (
            policy.max_latency_ratio,
            worst,
            f"it takes {{:.2f}} times the champion's time (batches of {batch}).",
        ),
        "latency": (
            policy.max_latency_ms,
            next((one.ms for one in evidence.latency if one.batch == 1), None),
            "one example takes {:.3f} ms.",
        ),
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
    """Return whether all licences of an SPDX expression are in `known`, or those of one alternative.

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
    """Bound the share of a task that the corpus contains, for the task with the largest share."""
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
    """Require that the policy allows the licence of every teacher."""
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
