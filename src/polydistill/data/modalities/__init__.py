"""Modalities: a plug-in package with one file per modality."""

from collections.abc import Callable
from typing import Any

from polydistill.contracts import Rule
from polydistill.plugins import Plugins

MODALITIES: Plugins[Callable[..., Any]] = Plugins("modality", __name__)


def rule(expectation: str, column: str, because: str, **kwargs: object) -> Rule:
    """Return a rule about a column: `expect_column_<expectation>`; see `contracts.Rule`."""
    return Rule(f"expect_column_{expectation}", {"column": column, **kwargs}, because)


def between(column: str, because: str, **limits: float) -> Rule:
    """Return the rule that the values of a column are at least `min_value` and at most `max_value`."""
    return rule("values_to_be_between", column, because, **limits)


def in_set(column: str, values: list[Any], because: str) -> Rule:
    """Return the rule that every value of a column is in `values`."""
    return rule("values_to_be_in_set", column, because, value_set=values)
