"""The rules on quality: as good as the champion, and no worse than the student before its first step."""

from __future__ import annotations

from collections.abc import Sequence

from polydistill.config.operations import GateParams
from polydistill.evaluation.statistics.bootstrap import Interval
from polydistill.registry.comparison import Comparison, Pair, TaskChange, compare
from polydistill.registry.evidence import Candidate
from polydistill.registry.rules import RuleOutcome

GAIN, REGRESSION = "gain", "no-regression"
GAIN_OVER_UNDISTILLED, HARM = "gain-over-undistilled", "no-harm"
DECIMALS = 6


def champion_rules(
    policy: GateParams, challenger: Candidate, champion: Candidate | None
) -> list[RuleOutcome]:
    """Compare the challenger with the champion, on the tasks whose data both were evaluated on."""
    bound = policy.max_regression_per_task
    if champion is None:
        because = "there is no champion yet."
        bounds = {GAIN: policy.min_gain} | ({} if bound is None else {REGRESSION: -bound})
        return [
            RuleOutcome(rule, passed=True, because=because, bound=least, skipped=True)
            for rule, least in bounds.items()
        ]
    ours, theirs = challenger.examples, champion.examples
    pairs = {
        task: Pair(one.kind, theirs[task].student, one.student, one.groups)
        for task, one in ours.items()
        if task in theirs and theirs[task].digest == one.digest
    }
    name = f"champion {champion.version}"
    if not pairs:
        because = f"it shares no benchmark task of the same data with {name}."
        return [RuleOutcome(GAIN, passed=False, because=because, bound=policy.min_gain)]
    found = compare(pairs, confidence=policy.confidence, resamples=policy.resamples)
    apart = sorted({*ours, *theirs} - set(pairs))
    rules = [_gain(GAIN, policy.min_gain, found, name, apart)]
    return rules if bound is None else [*rules, *_per_task(REGRESSION, policy, bound, found, name)]


def undistilled_rules(policy: GateParams, challenger: Candidate) -> list[RuleOutcome]:
    """Compare the challenger with the student before its first step: distillation must do no harm."""
    least, bound = policy.min_gain_over_undistilled, policy.max_harm_per_task
    if least is None and bound is None:
        return []
    pairs = {
        task: Pair(one.kind, one.undistilled, one.student, one.groups)
        for task, one in challenger.examples.items()
        if one.undistilled is not None
    }
    if not pairs:
        because = "its predictions have no undistilled student to compare it with."
        bounds = {GAIN_OVER_UNDISTILLED: least, HARM: None if bound is None else -bound}
        return [
            RuleOutcome(rule, passed=False, because=because, bound=value)
            for rule, value in bounds.items()
            if value is not None
        ]
    name = "the undistilled student"
    found = compare(pairs, confidence=policy.confidence, resamples=policy.resamples)
    rules = [] if least is None else [_gain(GAIN_OVER_UNDISTILLED, least, found, name, ())]
    return rules if bound is None else [*rules, *_per_task(HARM, policy, bound, found, name)]


def _gain(
    rule: str, least: float, found: Comparison, name: str, apart: Sequence[str]
) -> RuleOutcome:
    """The mean over task kinds must rise by `least`, or fall by no more than that if it is negative."""
    gain = round(found.mean.mean, DECIMALS)
    because = (
        f"its mean score is {found.after:.4f}, {name} has {found.before:.4f}: "
        f"a gain of {gain:+.4f} {_shown(found.mean)}, and {least:+.4f} is needed."
    )
    if apart:
        because += f" Not compared, because only one has it or its data differ: {', '.join(apart)}."
    return RuleOutcome(rule, gain >= least, because, gain, least, _rounded(found.mean))


def _per_task(
    rule: str, policy: GateParams, margin: float, found: Comparison, name: str
) -> list[RuleOutcome]:
    level = 1 - policy.confidence
    return [_task(rule, task, one, (margin, level), name) for task, one in found.tasks.items()]


def _task(
    rule: str, task: str, one: TaskChange, limits: tuple[float, float], name: str
) -> RuleOutcome:
    """Refuse a change that is both larger than the margin and more than noise."""
    (margin, level), change, p = limits, round(one.change.mean, DECIMALS), one.p_worse
    beyond, real = change < -margin, p <= level
    shown = f"{change:+.4f} {_shown(one.change)} against {name}"
    if change >= 0:
        because = f"not lower: {shown}."
    elif beyond and real:
        because = f"it falls by more than {margin:g}, and not by chance (p = {p:.2g}): {shown}."
    elif real:
        because = f"lower (p = {p:.2g}), but by no more than {margin:g}: {shown}."
    else:
        because = f"lower, which chance explains (p = {p:.2g}): {shown}."
    passed, interval = not (beyond and real), _rounded(one.change)
    return RuleOutcome(rule, passed, because, change, -margin, interval, task=task)


def _rounded(found: Interval) -> tuple[float, float]:
    return round(found.low, DECIMALS), round(found.high, DECIMALS)


def _shown(found: Interval) -> str:
    return f"[{found.low:+.4f}, {found.high:+.4f}]"
