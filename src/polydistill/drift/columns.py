"""Columns of a corpus: lengths, empty and repeated examples, the mix of sources, and how far they may move.

A column is named by what it counts, `n_characters`, `n_characters>120`, `is_empty`, `source=wordnet`, so that its
name and its mean in the champion's corpus are all that has to be kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from polydistill.contracts import Rule

LENGTH, EMPTY, REPEATED, NEW_SOURCE = "n_characters", "is_empty", "is_repeated", "is_new_source"
LONGER, SOURCE = f"{LENGTH}>", "source="
QUANTILES = (0.1, 0.5, 0.9)
MAX_SOURCES = 20
"""Rarer sources count as new; a corpus with one source a row would be one column a row."""
Means = Mapping[str, float]


@dataclass(frozen=True)
class ColumnRange:
    """How far the mean of a column may move.

    Attributes:
        column: Its name.
        champion: Its mean in the champion's corpus: characters, or a share in [0, 1].
        low: Least mean that is no drift.
        high: Greatest.
    """

    column: str
    champion: float
    low: float
    high: float

    @property
    def rule(self) -> Rule:
        """The same as a rule about the table that `derive` gives."""
        kwargs = {"column": self.column, "min_value": self.low, "max_value": self.high}
        because = f"{self.column} has moved from the champion's {self.champion:.4g}"
        return Rule("expect_column_mean_to_be_between", kwargs, because)


def choose_columns(corpus: pd.DataFrame, column: str) -> list[str]:
    """Return the names of the columns that describe a corpus.

    Args:
        corpus: Holds `column`, and `source` if its rows have one.
        column: Of the examples.
    """
    lengths = corpus[column].fillna("").str.len()
    quantiles = sorted({int(lengths.quantile(share)) for share in QUANTILES})
    names = [LENGTH, *(f"{LONGER}{quantile}" for quantile in quantiles), EMPTY, REPEATED]
    if "source" in corpus:
        counts = _sources(corpus).value_counts().sort_index()
        frequent = counts.sort_values(ascending=False, kind="stable").index[:MAX_SOURCES]
        names += [*(f"{SOURCE}{source}" for source in sorted(frequent)), NEW_SOURCE]
    return names


def derive(corpus: pd.DataFrame, column: str, names: Sequence[str]) -> pd.DataFrame:
    """Return a table with the columns `names`, one number a row."""
    examples = corpus[column].fillna("")
    lengths, sources = examples.str.len(), _sources(corpus)
    known = [name.removeprefix(SOURCE) for name in names if name.startswith(SOURCE)]
    plain: dict[str, pd.Series[bool] | pd.Series[float]] = {
        LENGTH: lengths.astype(float),
        EMPTY: lengths == 0,
        REPEATED: examples.duplicated(),
        NEW_SOURCE: ~sources.isin(known),
    }
    columns: dict[str, pd.Series[bool] | pd.Series[float]] = {}
    for name in names:
        if name.startswith(LONGER):
            columns[name] = lengths > int(name.removeprefix(LONGER))
        elif name.startswith(SOURCE):
            columns[name] = sources == name.removeprefix(SOURCE)
        else:
            columns[name] = plain[name]
    return pd.DataFrame(columns, dtype=float)


def means(table: pd.DataFrame) -> dict[str, float]:
    """Return the mean of each column."""
    return {str(name): float(table[name].mean()) for name in table}


def allowed_ranges(champion: Means, *, tolerance: float) -> list[ColumnRange]:
    """Return how far each mean may move.

    Args:
        champion: See `means`.
        tolerance: Relative for the length, absolute for shares.
    """
    slack = {name: tolerance * (mean if name == LENGTH else 1) for name, mean in champion.items()}
    return [
        ColumnRange(name, mean, mean - slack[name], mean + slack[name])
        for name, mean in champion.items()
    ]


def _sources(corpus: pd.DataFrame) -> pd.Series[str]:
    missing = pd.Series("", index=corpus.index)
    return corpus.get("source", missing).fillna("").astype(str)
