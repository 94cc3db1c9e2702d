"""Numbers and table rows as the result pages show them."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.method_scores import MethodScore
from polydistill.evaluation.statistics.bootstrap import Interval
from polydistill.evaluation.statistics.kinds import OVERALL

NOTHING = "-"
OVERALL_NAME = "the mean over kinds"


def row(name: str, columns: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {name} | {' | '.join(columns)} |"


def listed(kinds: Sequence[str]) -> str:
    """Return task kinds as words of a sentence.

    Examples:
        >>> listed(["sts", "mean"])
        'sts, the mean over kinds'
    """
    return ", ".join(OVERALL_NAME if kind == OVERALL else kind for kind in kinds)


def negated(gain: Interval) -> Interval:
    """Return the difference the other way round, with its interval."""
    return Interval(-gain.mean, -gain.high, -gain.low)


def signed(gain: Interval) -> str:
    """Return a difference with its interval.

    Examples:
        >>> signed(Interval(0.01, -0.002, 0.022))
        '+0.010 [-0.002, +0.022]'
    """
    return f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def plus_minus(spread: float | None) -> str:
    """Return a standard deviation over seeds; an empty string for None."""
    return "" if spread is None else f" ±{spread:.3f}"


def formatted_gain(score: MethodScore) -> str:
    """Return a method's gain, its interval, and its standard deviation over seeds."""
    if score.gain is None:
        return NOTHING
    return signed(score.gain) + plus_minus(score.gain_spread)
