"""Columns that describe a corpus, and the allowed ranges of their means.

The columns are the modality's measures, empty and repeated examples, and shares of sources. A column's name states what
it counts: `n_characters`, `n_characters>120`, `is_empty`, `source=wordnet`. So only its name and its mean in the
champion's corpus have to be stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from polydistill.contracts import Modality, Rule
from polydistill.errors import DataError

EMPTY, REPEATED, NEW_SOURCE = "is_empty", "is_repeated", "is_new_source"
ABOVE, SOURCE = ">", "source="
QUANTILES = (0.1, 0.5, 0.9)
MAX_SOURCES = 20
"""Rarer sources count as new; otherwise a corpus with one source per row would have one column per row."""
Means = Mapping[str, float]


@dataclass(frozen=True)
class ColumnRange:
    """The allowed range of a column's mean.

    Attributes:
        column: The column's name.
        champion: Mean in the champion's corpus, of a measure or as a share in [0, 1].
        low: Lowest mean that does not count as drift.
        high: Highest mean that does not count as drift.
    """

    column: str
    champion: float
    low: float
    high: float

    @property
    def rule(self) -> Rule:
        """The range as a rule for the table that `derive` returns."""
        kwargs = {"column": self.column, "min_value": self.low, "max_value": self.high}
        because = f"{self.column} has moved from the champion's {self.champion:.4g}"
        return Rule("expect_column_mean_to_be_between", kwargs, because)


def choose_columns(corpus: pd.DataFrame, kind: Modality) -> list[str]:
    """Return the names of the columns that describe a corpus.

    Args:
        corpus: Holds the modality's column, and `source` if its rows have one.
        kind: Its `derived` columns are measured.
    """
    names = []
    for measure, values in _measures(corpus, kind).items():
        whole = bool((values % 1 == 0).all())
        quantiles = values.quantile(list(QUANTILES))
        thresholds = [str(int(one)) if whole else f"{one:.3g}" for one in quantiles]
        names += [measure, *(f"{measure}{ABOVE}{one}" for one in dict.fromkeys(thresholds))]
    names += [EMPTY, REPEATED]
    if "source" in corpus:
        counts = _sources(corpus).value_counts().sort_index()
        frequent = counts.sort_values(ascending=False, kind="stable").index[:MAX_SOURCES]
        names += [*(f"{SOURCE}{source}" for source in sorted(frequent)), NEW_SOURCE]
    return names


def derive(corpus: pd.DataFrame, kind: Modality, names: Sequence[str]) -> pd.DataFrame:
    """Return a table with the columns `names`, one number per row.

    Raises:
        DataError: The modality does not have the measure of a column.
    """
    sources, measures = _sources(corpus), _measures(corpus, kind)
    known = [name.removeprefix(SOURCE) for name in names if name.startswith(SOURCE)]
    plain: dict[str, pd.Series[Any]] = {
        **measures,
        EMPTY: corpus[kind.column].map(lambda one: not isinstance(one, str | bytes) or not one),
        REPEATED: corpus[kind.column].fillna("").duplicated(),
        NEW_SOURCE: ~sources.isin(known),
    }
    columns: dict[str, pd.Series[Any]] = {}
    for name in names:
        measure, _, least = name.partition(ABOVE)
        if name.startswith(SOURCE):
            columns[name] = sources == name.removeprefix(SOURCE)
        elif measure not in plain:
            raise DataError(
                f"The modality {kind.name!r} must measure {measure!r}, got {', '.join(measures)}: "
                "this reference was made by another version of it. Publish the student again."
            )
        else:
            columns[name] = plain[measure] > float(least) if least else plain[measure]
    return pd.DataFrame(columns, dtype=float)


def means(table: pd.DataFrame) -> dict[str, float]:
    """Return the mean of each column."""
    return {str(name): float(table[name].mean()) for name in table}


def allowed_ranges(champion: Means, *, tolerance: float) -> list[ColumnRange]:
    """Return the allowed range of each mean.

    Args:
        champion: The means of the champion's corpus; see `means`.
        tolerance: Relative for the modality's measures, absolute for shares of rows.
    """
    ranges = []
    for name, mean in champion.items():
        slack = tolerance * (1 if _is_share(name) else abs(mean))
        ranges.append(ColumnRange(name, mean, mean - slack, mean + slack))
    return ranges


def _is_share(name: str) -> bool:
    return name in {EMPTY, REPEATED, NEW_SOURCE} or name.startswith(SOURCE) or ABOVE in name


def _measures(corpus: pd.DataFrame, kind: Modality) -> dict[str, pd.Series[float]]:
    """Return the modality's measures of each row."""
    shown = [[one] if isinstance(one, str | bytes) else [] for one in corpus[kind.column]]
    return {
        name: pd.Series(list(values), index=corpus.index, dtype=float)
        for name, values in kind.derived(shown).items()
    }


def _sources(corpus: pd.DataFrame) -> pd.Series[str]:
    return corpus.get("source", pd.Series("", index=corpus.index)).fillna("").astype(str)
