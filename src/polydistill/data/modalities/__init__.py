"""Modalities: a plug-in package with one file per modality."""

from collections.abc import Callable
from typing import Any

from polydistill.contracts import Rule
from polydistill.plugins import Plugins

MODALITIES: Plugins[Callable[..., Any]] = Plugins("modality", __name__)


def between(
    column: str,
    because: str,
    *,
    low: float | None = None,
    high: float | None = None,
    of: str = "values",
) -> Rule:
    """Return the rule that the values of a column, or their lengths, are in a range.

    Args:
        column: The column.
        because: What is wrong when the rule fails.
        low: The least value; None: unbounded.
        high: The greatest value; None: unbounded.
        of: `values`, or `value_lengths`.
    """
    limits = {"min_value": low, "max_value": high}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return Rule(f"expect_column_{of}_to_be_between", {"column": column, **given}, because)
