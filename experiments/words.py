"""Numbers of a comparison as they stand in its pages."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.standings import Standing
from polydistill.evaluation.statistics.bootstrap import Interval

NOTHING = "-"


def row(name: str, cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {name} | {' | '.join(cells)} |"


def signed(gain: Interval) -> str:
    """Return a difference with its interval.

    Examples:
        >>> signed(Interval(0.01, -0.002, 0.022))
        '+0.010 [-0.002, +0.022]'
    """
    return f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def plus_minus(spread: float | None) -> str:
    """Return a standard deviation over seeds, or nothing where there is none."""
    return "" if spread is None else f" ±{spread:.3f}"


def gain_cell(standing: Standing) -> str:
    """Return a standing's gain, its interval and its spread over seeds."""
    if standing.gain is None:
        return NOTHING
    return signed(standing.gain) + plus_minus(standing.gain_spread)
