"""Quality rules: they compare the challenger's scores with those of the champion and of the undistilled student.

A paired bootstrap gives confidence intervals for the change of the mean score and of the score of each task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from polydistill.config.operations import GateParams
from polydistill.evaluation.statistics.bootstrap import (
    Floats,
    Interval,
    holm,
    interval,
    resampled_means,
)
from polydistill.evaluation.statistics.kinds import OVERALL, over_kinds
from polydistill.registry.evidence import Candidate, RuleOutcome

GAIN, REGRESSION = "gain", "no-regression"
GAIN_OVER_UNDISTILLED, HARM = "gain-over-undistilled", "no-harm"
DECIMALS = 6
Bounds = Mapping[str, float | None]
"""The bound of each rule: first the rule on the mean score, then the rule on each task. None: the rule is disabled."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two models' scores on one task's examples, in the same order.

    Attributes:
        kind: The kind of the task.
        before: Scores of the reference model, `(n_examples,)`.
        after: Scores of the model that is compared with the reference model, `(n_examples,)`.
        groups: Groups of examples that are resampled together, `(n_examples,)`. See `bootstrap.resampled_means`.
    """

    kind: str
    before: Floats
    after: Floats
    groups: NDArray[np.str_] | None = None


@dataclass(frozen=True)
class TaskChange:
    """The change of the score of one task.

    Attributes:
        change: The mean of `after` minus the mean of `before`.
        p_worse: One-sided p-value of a decrease of the score, in (0, 1], adjusted by `holm`.
    """

    change: Interval
    p_worse: float


@dataclass(frozen=True)
class Comparison:
    """The changes of the scores between two models.

    Attributes:
        mean: The change of the mean score over task kinds.
        before: The mean score of the reference model.
        after: The mean score of the other model.
        tasks: The change of the score by task.
    """

    mean: Interval
    before: float
    after: float
    tasks: Mapping[str, TaskChange]


def champion_rules(
    policy: GateParams, challenger: Candidate, champion: Candidate | None
) -> list[RuleOutcome]:
    """Compare the challenger with the champion on the tasks that both were evaluated on with the same data."""
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
    """Compare the challenger with the undistilled student, to detect scores that distillation made worse."""
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


def compare(
    pairs: Mapping[str, Pair], *, confidence: float = 0.95, resamples: int = 10_000
) -> Comparison:
    """Compare two models by a paired bootstrap over the examples of each task.

    The task's name seeds its random numbers, so that its interval does not depend on the other tasks.

    Raises:
        ShapeError: `before` and `after` of a task differ in length, or hold no finite numbers.
    """
    kinds = {task: pair.kind for task, pair in pairs.items()}
    gains = {task: np.asarray(one.after - one.before, np.float64) for task, one in pairs.items()}
    draws = {
        task: resampled_means(
            gain,
            groups=pairs[task].groups,
            resamples=resamples,
            generator=np.random.default_rng(crc32(task.encode())),
        )
        for task, gain in gains.items()
    }
    p_values = holm([(1 + int((one >= 0).sum())) / (1 + resamples) for one in draws.values()])
    points = {task: float(gain.mean()) for task, gain in gains.items()}
    before = {task: pair.before.mean() for task, pair in pairs.items()}
    after = {task: pair.after.mean() for task, pair in pairs.items()}
    mean, mean_before, mean_after = (
        float(over_kinds(scores, kinds)[OVERALL]) for scores in (points, before, after)
    )
    tasks = {
        task: TaskChange(interval(points[task], draws[task], confidence=confidence), p_worse)
        for task, p_worse in zip(pairs, p_values, strict=True)
    }
    change = interval(mean, over_kinds(draws, kinds)[OVERALL], confidence=confidence)
    return Comparison(change, mean_before, mean_after, tasks)


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
    """Require that the mean score over task kinds rises by at least `least`. A negative `least` allows a decrease."""
    gain = round(found.mean.mean, DECIMALS)
    because = (
        f"its mean score is {found.after:.4f}, {name} has {found.before:.4f}: "
        f"a gain of {gain:+.4f} {_shown(found.mean)}; at least {least:+.4f} is needed."
    )
    if apart:
        because += f" Not compared, because only one has it or its data differ: {', '.join(apart)}."
    return RuleOutcome(rule, gain >= least, because, gain, least, _rounded(found.mean))


def _task(
    rule: str, task: str, one: TaskChange, limits: tuple[float, float], name: str
) -> RuleOutcome:
    """Refuse a change of the score that is below `limits[0]` and significant at the level `limits[1]`."""
    (lowest, level), change = limits, round(one.change.mean, DECIMALS)
    p, beyond, significant = f"p = {one.p_worse:.2g}", change < lowest, one.p_worse <= level
    if change >= 0:
        because = "not lower"
    elif not significant:
        because = f"lower, but not significantly ({p})"
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
