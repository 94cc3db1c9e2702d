"""Rules on quality: the challenger's scores against the champion's, and against those of the undistilled student."""

from collections.abc import Mapping, Sequence

from polydistill.config.operations import GateParams
from polydistill.evaluation.statistics.bootstrap import Interval
from polydistill.registry.comparison import Comparison, Pair, TaskChange, compare
from polydistill.registry.evidence import Candidate
from polydistill.registry.rules import RuleOutcome

GAIN, REGRESSION = "gain", "no-regression"
GAIN_OVER_UNDISTILLED, HARM = "gain-over-undistilled", "no-harm"
DECIMALS = 6
Bounds = Mapping[str, float | None]
"""The rule on the mean and its bound, then the rule on each task and its bound. None: the rule is off."""


def champion_rules(
    policy: GateParams, challenger: Candidate, champion: Candidate | None
) -> list[RuleOutcome]:
    """Compare the challenger with the champion, on the tasks that both were evaluated on with the same data."""
    bounds = {GAIN: policy.min_gain, REGRESSION: _negative(policy.max_regression_per_task)}
    if champion is None:
        return _not_compared(bounds, "there is no champion yet.", passed=True)
    ours, theirs = challenger.examples, champion.examples
    pairs = {
        task: Pair(one.kind, theirs[task].student, one.student, one.groups)
        for task, one in ours.items()
        if task in theirs and theirs[task].digest == one.digest
    }
    name = f"champion {champion.version}"
    if not pairs:
        because = f"it shares no benchmark task of the same data with {name}."
        return _not_compared({GAIN: policy.min_gain}, because, passed=False)
    return _compared(policy, bounds, pairs, name, sorted({*ours, *theirs} - set(pairs)))


def undistilled_rules(policy: GateParams, challenger: Candidate) -> list[RuleOutcome]:
    """Compare the challenger with the student before its first training step: distillation must do no harm."""
    bounds = {
        GAIN_OVER_UNDISTILLED: policy.min_gain_over_undistilled,
        HARM: _negative(policy.max_harm_per_task),
    }
    pairs = {
        task: Pair(one.kind, one.undistilled, one.student, one.groups)
        for task, one in challenger.examples.items()
        if one.undistilled is not None
    }
    if not pairs:
        because = "its predictions have no undistilled student to compare it with."
        return _not_compared(bounds, because, passed=False)
    return _compared(policy, bounds, pairs, "the undistilled student")


def _negative(margin: float | None) -> float | None:
    return None if margin is None else -margin


def _not_compared(bounds: Bounds, because: str, *, passed: bool) -> list[RuleOutcome]:
    return [
        RuleOutcome(rule, passed, because, bound=bound, skipped=passed)
        for rule, bound in bounds.items()
        if bound is not None
    ]


def _compared(
    policy: GateParams,
    bounds: Bounds,
    pairs: Mapping[str, Pair],
    name: str,
    apart: Sequence[str] = (),
) -> list[RuleOutcome]:
    (on_mean, least), (on_task, lowest) = bounds.items()
    if least is None and lowest is None:
        return []
    found = compare(pairs, confidence=policy.confidence, resamples=policy.resamples)
    rules = [] if least is None else [_gain(on_mean, least, found, name, apart)]
    if lowest is not None:
        level = 1 - policy.confidence
        rules += [
            _task(on_task, task, change, (lowest, level), name)
            for task, change in found.tasks.items()
        ]
    return rules


def _gain(
    rule: str, least: float, found: Comparison, name: str, apart: Sequence[str]
) -> RuleOutcome:
    """Require that the mean over task kinds rises by `least`; a negative `least` allows a fall."""
    gain = round(found.mean.mean, DECIMALS)
    because = (
        f"its mean score is {found.after:.4f}, {name} has {found.before:.4f}: "
        f"a gain of {gain:+.4f} {_shown(found.mean)}, and {least:+.4f} is needed."
    )
    if apart:
        because += f" Not compared, because only one has it or its data differ: {', '.join(apart)}."
    return RuleOutcome(rule, gain >= least, because, gain, least, _rounded(found.mean))


def _task(
    rule: str, task: str, one: TaskChange, limits: tuple[float, float], name: str
) -> RuleOutcome:
    """Refuse a fall below `limits[0]` that is significant at the level `limits[1]`."""
    (lowest, level), change = limits, round(one.change.mean, DECIMALS)
    p, beyond, significant = f"p = {one.p_worse:.2g}", change < lowest, one.p_worse <= level
    if change >= 0:
        because = "not lower"
    elif not significant:
        because = f"lower, which chance explains ({p})"
    elif beyond:
        because = f"it falls by more than {-lowest:g}, and not by chance ({p})"
    else:
        because = f"lower ({p}), but by no more than {-lowest:g}"
    because = f"{because}: {change:+.4f} {_shown(one.change)} against {name}."
    passed, interval = not (beyond and significant), _rounded(one.change)
    return RuleOutcome(rule, passed, because, change, lowest, interval, task=task)


def _rounded(found: Interval) -> tuple[float, float]:
    return round(found.low, DECIMALS), round(found.high, DECIMALS)


def _shown(found: Interval) -> str:
    return f"[{found.low:+.4f}, {found.high:+.4f}]"
