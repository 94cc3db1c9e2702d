"""What a rule of the gate finds, and the rules on one thing each: data, licences, budgets, the smoke test."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from polydistill.config.operations import GateParams
from polydistill.registry.evidence import Evidence, Finding

UNKNOWN = "it was not measured: the version was published without evidence. Publish it again."
AND, OR = re.compile(r"\s+AND\s+"), re.compile(r"\s+OR\s+")


@dataclass(frozen=True)
class RuleOutcome:
    """What one rule of the gate found.

    Attributes:
        name: The rule's.
        passed: Whether it lets the challenger through.
        because: The finding, in a sentence for a person.
        value: The number that it looked at; none where there is nothing to measure.
        bound: The least value that passes, or the greatest.
        interval: The range that the value probably lies in.
        bound_is: Whether `bound` is the `least` or the `most`.
        task: The benchmark task, for a rule that is applied to each.
        skipped: Whether there was nothing to compare with; it has passed then.
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
        evidence: Of the challenger.
        first: Whether there is no champion to be as fast as.
    """
    ratio, bound = "latency-ratio", policy.max_latency_ratio
    if bound is not None and first:
        because = "skipped: there is no champion yet."
        yield RuleOutcome(ratio, True, because, bound=bound, bound_is="most", skipped=True)  # noqa: FBT003
    elif bound is not None:
        ratios = [(one.ratio, one.batch) for one in evidence.latency if one.ratio is not None]
        worst, batch = max(ratios, key=lambda one: one[0], default=(None, 0))
        found = f"it takes {{:.2f}} times the champion's time (batches of {batch})."
        yield _at_most(ratio, bound, worst, found)
    single = next((one.ms for one in evidence.latency if one.batch == 1), None)
    budgets = (
        ("latency", policy.max_latency_ms, single, "one example takes {:.3f} ms."),
        ("size", policy.max_size_mb, evidence.size_mb, "the bundle has {:.1f} MB."),
        ("memory", policy.max_memory_mb, evidence.memory_mb, "a new process grows by {:.0f} MB."),
    )
    for name, most, value, sentence in budgets:
        if most is not None:
            yield _at_most(name, most, value, sentence)


def stamp_rules(policy: GateParams, evidence: Evidence) -> Iterator[RuleOutcome]:
    """Apply what the policy asks of data, teachers, provenance and the published bundle."""
    if policy.max_contamination is not None:
        yield _contamination(policy.max_contamination, evidence)
    if policy.data_validated:
        yield _found("data-validated", evidence.validation)
    if policy.reproducible != "any":
        yield _reproducible(policy, evidence)
    if policy.licence_policy != "any":
        yield _licences(policy, evidence)
    if policy.smoke_test:
        yield _found("smoke-test", evidence.smoke_test)


def allows(expression: str, known: Collection[str]) -> bool:
    """Return whether every licence of an SPDX expression is in `known`; of alternatives, one.

    AND binds closer than OR, as in SPDX. Brackets and exceptions are not read, so they are unknown.

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


def _at_most(name: str, bound: float, value: float | None, sentence: str) -> RuleOutcome:
    if value is None:
        because = f"its {name} could not be measured: the bundle did not answer, or was not asked."
    else:
        because = f"{sentence.format(value)} At most {bound:g} is allowed."
    passed = value is not None and value <= bound
    return RuleOutcome(name, passed, because, value, bound, bound_is="most")


def _found(name: str, finding: Finding | None) -> RuleOutcome:
    holds, because = (False, UNKNOWN) if finding is None else (finding.holds, finding.because)
    return RuleOutcome(name, holds, because)


def _contamination(bound: float, evidence: Evidence) -> RuleOutcome:
    """Bound the share of a task that the corpus holds, for the task of which it holds most."""
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


def _reproducible(policy: GateParams, evidence: Evidence) -> RuleOutcome:
    stamp = evidence.reproducible
    passed = stamp is True or (stamp is None and policy.reproducible == "unless-refuted")
    because = {
        True: "everything that it was made of is attached to it.",
        False: "it is marked as not reproducible.",
        None: "it has no mark that says so, "
        + ("and the policy lets that pass." if passed else "and the policy asks for one."),
    }[stamp]
    return RuleOutcome("reproducible", passed, because)


def _licences(policy: GateParams, evidence: Evidence) -> RuleOutcome:
    """Require a licence of every teacher that the policy allows."""
    licences = evidence.licences
    if licences is None:
        return RuleOutcome("licence", passed=False, because=UNKNOWN)
    broken = [
        f"{teacher} is {licence}" if licence else f"{teacher} has no licence in params.yaml"
        for teacher, licence in sorted(licences.items())
        if licence is None or not allows(licence, policy.commercial_licences)
    ]
    if broken:
        because = f"not every teacher is known to allow commercial use: {'; '.join(broken)}."
    else:
        known = "; ".join(sorted(f"{teacher} {licence}" for teacher, licence in licences.items()))
        because = f"all teachers allow commercial use: {known or 'none'}."
    return RuleOutcome("licence", not broken, because)
