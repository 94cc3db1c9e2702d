"""What a rule of the gate finds, and the rules that look at one thing each: stamps, budgets, the smoke test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from polydistill.config.operations import GateParams
from polydistill.registry.evidence import Evidence, Finding
from polydistill.registry.licences import allows

UNKNOWN = "it was not measured: the version was published without evidence. Publish it anew."


@dataclass(frozen=True)
class RuleOutcome:
    """What one rule of the gate found.

    Attributes:
        name: The rule's.
        passed: Whether it lets the challenger through.
        value: The number that it looked at; none where there is nothing to measure.
        bound: The least value that passes, or the greatest.
        because: The finding, in a sentence for a person.
        interval: The range that the value probably lies in.
        bound_is: Whether `bound` is the `least` or the `most`.
        task: The benchmark task, for a rule that is applied to each.
        skipped: Whether there was nothing to hold it against; it has passed then.
    """

    name: str
    passed: bool
    value: float | None
    bound: float | None
    because: str
    interval: tuple[float, float] | None = None
    bound_is: Literal["least", "most"] = "least"
    task: str | None = None
    skipped: bool = False


def budget_rules(policy: GateParams, evidence: Evidence, *, first: bool) -> list[RuleOutcome]:
    """Apply the limits on time, size and memory that the policy sets.

    Args:
        policy: The gate's bounds.
        evidence: Of the challenger.
        first: Whether there is no champion to be as fast as.
    """
    latency = {one.batch: one for one in evidence.latency}
    single, ratios = latency.get(1), [one for one in evidence.latency if one.ratio is not None]
    worst = max(ratios, key=lambda one: one.ratio or 0.0, default=None)
    rules = []
    if policy.max_latency_ratio is not None:
        rules.append(
            _skipped("latency-ratio", policy.max_latency_ratio)
            if first
            else _at_most(
                "latency-ratio",
                policy.max_latency_ratio,
                None if worst is None else worst.ratio,
                lambda value: (
                    f"it takes {value:.2f} times the champion's time"
                    + (f" (batches of {worst.batch})." if worst else ".")
                ),
            )
        )
    budgets: tuple[tuple[str, float | None, float | None, str], ...] = (
        ("latency", policy.max_latency_ms, None if single is None else single.ms, "one example takes {:.3f} ms."),
        ("size", policy.max_size_mb, evidence.size_mb, "the bundle has {:.1f} MB."),
        ("memory", policy.max_memory_mb, evidence.memory_mb,
         "a fresh process grows by {:.0f} MB."),
    )  # fmt: skip
    for name, bound, value, sentence in budgets:
        if bound is not None:
            rules.append(_at_most(name, bound, value, sentence.format))
    return rules


def stamp_rules(policy: GateParams, evidence: Evidence) -> list[RuleOutcome]:
    """Apply what the policy asks of data, teachers and provenance."""
    rules = []
    if policy.max_contamination is not None:
        rules.append(_contamination(policy.max_contamination, evidence))
    if policy.data_validated:
        rules.append(_found("data-validated", evidence.validation))
    if policy.reproducible != "any":
        rules.append(_reproducible(policy, evidence))
    if policy.licence_policy != "any":
        rules.append(_licences(policy, evidence))
    return rules


def canary_rules(policy: GateParams, evidence: Evidence) -> list[RuleOutcome]:
    """Apply the smoke test, if the policy asks for one: servable, not just good."""
    return [_found("smoke-test", evidence.smoke_test)] if policy.smoke_test else []


def _at_most(
    name: str, bound: float, value: float | None, sentence: Callable[[float], str]
) -> RuleOutcome:
    if value is None:
        because = f"its {name} could not be measured: the bundle did not answer, or was not asked."
        return RuleOutcome(name, passed=False, value=None, bound=bound, because=because,
                           bound_is="most")  # fmt: skip
    because = f"{sentence(value)} At most {bound:g} is allowed."
    passed = value <= bound
    return RuleOutcome(name, passed, value, bound, because, bound_is="most")


def _skipped(name: str, bound: float) -> RuleOutcome:
    because = "skipped: there is no champion yet."
    return RuleOutcome(name, passed=True, value=None, bound=bound, because=because,
                       bound_is="most", skipped=True)  # fmt: skip


def _found(name: str, finding: Finding | None) -> RuleOutcome:
    because = UNKNOWN if finding is None else finding.because
    holds = finding is not None and finding.holds
    return RuleOutcome(name, holds, None, None, because)


def _contamination(bound: float, evidence: Evidence) -> RuleOutcome:
    """The corpus may hold so much of a task; the task that it holds most of decides."""
    found = evidence.contamination
    if found is None or not found.tasks:
        because = UNKNOWN if found is None else "there is no benchmark task to look for."
        return RuleOutcome("not-contaminated", passed=False, value=None, bound=bound,
                           because=because, bound_is="most")  # fmt: skip
    worst = max(sorted(found.tasks), key=lambda task: found.tasks[task])
    share = found.tasks[worst]
    corpus = f"the {found.n_corpus:,} of the corpus, by content or nearly"
    if share:
        because = (
            f"{found.n_overlapping:,} benchmark examples are among {corpus}, most of {worst} "
            f"({share:.2%}). At most {bound:.2%} of a task is allowed."
        )
    else:
        because = f"no benchmark example is among {corpus}."
    if found.labels_seen:
        seen = (f"{task} ({', '.join(names)})" for task, names in sorted(found.labels_seen.items()))
        because += f" Teachers were trained on the labels of {', '.join(seen)}."
    return RuleOutcome(
        "not-contaminated", share <= bound, round(share, 6), bound, because, bound_is="most"
    )


def _reproducible(policy: GateParams, evidence: Evidence) -> RuleOutcome:
    stamp = evidence.reproducible
    passed = stamp is True or (stamp is None and policy.reproducible == "unless-refuted")
    because = {
        True: "everything that it was made of is attached to it.",
        False: "it is stamped as not reproducible.",
        None: "it has no stamp that says so, "
        + ("and the policy asks for one." if not passed else "and the policy lets that pass."),
    }[stamp]
    return RuleOutcome("reproducible", passed, None, None, because)


def _licences(policy: GateParams, evidence: Evidence) -> RuleOutcome:
    """Every teacher's licence is written down, and allows what the policy says."""
    licences = evidence.licences
    if licences is None:
        return RuleOutcome("licence", passed=False, value=None, bound=None, because=UNKNOWN)
    broken = [
        f"{teacher} is {licence}" if licence else f"{teacher} has no licence in params.yaml"
        for teacher, licence in sorted(licences.items())
        if licence is None or not allows(licence, policy.commercial_licences)
    ]
    because = (
        f"not every teacher is known to allow commercial use: {_listed(broken)}."
        if broken
        else f"all teachers allow commercial use: {_listed(sorted(f'{t} {v}' for t, v in licences.items()))}."
    )
    return RuleOutcome("licence", not broken, None, None, because)


def _listed(parts: Sequence[str]) -> str:
    return "; ".join(parts) or "none"
