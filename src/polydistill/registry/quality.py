"""The rules on quality: as good as the champion, and no worse than the student before its first step."""

from __future__ import annotations

from collections.abc import Mapping

from polydistill.config.operations import GateParams
from polydistill.evaluation.scores import kind_means, mean_score
from polydistill.evaluation.statistics.bootstrap import Interval
from polydistill.registry.candidate import Candidate
from polydistill.registry.comparison import Comparison, Pair, TaskChange, compare
from polydistill.registry.evidence import TaskExamples
from polydistill.registry.rules import RuleOutcome

GAIN, REGRESSION = "gain", "no-regression"
GAIN_OVER_UNDISTILLED, HARM = "gain-over-undistilled", "no-harm"
DECIMALS = 6
NO_EXAMPLES = "no task's examples are known of both, so that nothing can be compared task by task."


def champion_rules(
    policy: GateParams, challenger: Candidate, champion: Candidate | None
) -> list[RuleOutcome]:
    """Hold the challenger against the champion, on the tasks whose data both were evaluated on."""
    bound = policy.max_regression_per_task
    if champion is None:
        rules = [_skipped(GAIN, policy.min_gain)]
        return rules if bound is None else [*rules, _skipped(REGRESSION, -bound)]
    pairs = _common(challenger.examples, champion.examples)
    if not pairs and not (challenger.examples and champion.examples):
        rules = [_gain_of_scores(policy, challenger, champion)]
        return rules if bound is None else [*rules, _incomparable(REGRESSION, -bound, NO_EXAMPLES)]
    name = f"champion {champion.version}"
    if not pairs:
        because = f"it shares no benchmark task of the same data with {name}."
        return [RuleOutcome(GAIN, passed=False, value=None, bound=policy.min_gain, because=because)]
    found = compare(pairs, confidence=policy.confidence, resamples=policy.resamples)
    apart = sorted({*challenger.examples, *champion.examples} - set(pairs))
    rules = [_gain(GAIN, policy.min_gain, found, pairs, name, apart)]
    return rules if bound is None else [*rules, *_per_task(REGRESSION, policy, bound, found, name)]


def undistilled_rules(policy: GateParams, challenger: Candidate) -> list[RuleOutcome]:
    """Hold the challenger against the student before its first step: distillation must do no harm."""
    least, bound = policy.min_gain_over_undistilled, policy.max_harm_per_task
    if least is None and bound is None:
        return []
    pairs = {
        task: Pair(one.kind, one.undistilled, one.student, one.groups)
        for task, one in challenger.examples.items()
        if one.undistilled is not None
    }
    if not pairs:
        because = "its predictions have no undistilled student to hold it against."
        asked = {GAIN_OVER_UNDISTILLED: least, HARM: None if bound is None else -bound}
        return [
            _incomparable(rule, value, because)
            for rule, value in asked.items()
            if value is not None
        ]
    name = "the undistilled student"
    found = compare(pairs, confidence=policy.confidence, resamples=policy.resamples)
    rules = []
    if least is not None:
        rules.append(_gain(GAIN_OVER_UNDISTILLED, least, found, pairs, name, ()))
    return rules if bound is None else [*rules, *_per_task(HARM, policy, bound, found, name)]


def _common(
    ours: Mapping[str, TaskExamples], theirs: Mapping[str, TaskExamples]
) -> dict[str, Pair]:
    return {
        task: Pair(one.kind, theirs[task].student, one.student, one.groups)
        for task, one in ours.items()
        if task in theirs and theirs[task].digest == one.digest
    }


def _gain(
    rule: str,
    least: float,
    found: Comparison,
    pairs: Mapping[str, Pair],
    name: str,
    apart: list[str] | tuple[str, ...],
) -> RuleOutcome:
    """The mean over task kinds must rise by `least`, or fall by no more than that if it is negative."""
    gain = round(found.mean.mean, DECIMALS)
    new, old = (_mean(pairs, side) for side in ("after", "before"))
    because = (
        f"its mean score is {new:.4f}, {name} has {old:.4f}: "
        f"a gain of {gain:+.4f} {_shown(found.mean)}, and {least:+.4f} is needed."
    )
    if apart:
        because += f" Not compared, for its data is another or only one has it: {', '.join(apart)}."
    return RuleOutcome(rule, gain >= least, gain, least, because, _rounded(found.mean))


def _per_task(
    rule: str, policy: GateParams, margin: float, found: Comparison, name: str
) -> list[RuleOutcome]:
    return [
        _task(rule, task, one, margin, 1 - policy.confidence, name)
        for task, one in found.tasks.items()
    ]


def _task(
    rule: str, task: str, one: TaskChange, margin: float, level: float, name: str
) -> RuleOutcome:
    """Refuse a change that is both larger than the margin and more than noise."""
    change = round(one.change.mean, DECIMALS)
    p = one.p_worse
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
    return RuleOutcome(
        name=rule,
        passed=not (beyond and real),
        value=change,
        bound=-margin,
        because=because,
        interval=_rounded(one.change),
        task=task,
    )


def _gain_of_scores(policy: GateParams, challenger: Candidate, champion: Candidate) -> RuleOutcome:
    """Compare the means of whole scores, where one of both has no examples; so there is no interval."""
    ours, theirs = _common_scores(challenger.scores, champion.scores)
    bound = policy.min_gain
    if not ours:
        because = f"it shares no benchmark task with champion {champion.version}."
        return RuleOutcome(GAIN, passed=False, value=None, bound=bound, because=because)
    means = kind_means({"challenger": ours, "champion": theirs}, {})
    new, old = mean_score(means["challenger"]), mean_score(means["champion"])
    gain = round(new - old, DECIMALS)  # scores have four decimals; the rest is how floats add up
    because = (
        f"its mean score is {new:.4f}, champion {champion.version} has {old:.4f}: "
        f"a gain of {gain:+.4f}, and {bound:+.4f} is needed."
    )
    return RuleOutcome(GAIN, gain >= bound, gain, bound, because)


def _common_scores(
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


def _mean(pairs: Mapping[str, Pair], side: str) -> float:
    scores: dict[str, dict[str, float]] = {}
    for task, pair in pairs.items():
        values = pair.after if side == "after" else pair.before
        scores.setdefault(pair.kind, {})[task] = float(values.mean())
    return mean_score(kind_means({side: scores}, {})[side])


def _skipped(rule: str, bound: float) -> RuleOutcome:
    because = "there is no champion yet."
    return RuleOutcome(rule, passed=True, value=None, bound=bound, because=because, skipped=True)


def _incomparable(rule: str, bound: float, because: str) -> RuleOutcome:
    return RuleOutcome(rule, passed=False, value=None, bound=bound, because=because)


def _rounded(found: Interval) -> tuple[float, float]:
    return round(found.low, DECIMALS), round(found.high, DECIMALS)


def _shown(found: Interval) -> str:
    return f"[{found.low:+.4f}, {found.high:+.4f}]"
