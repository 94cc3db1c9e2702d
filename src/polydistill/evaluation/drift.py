"""Drift between two corpora: a test on embeddings, and allowed ranges for the means of columns.

The test uses the maximum mean discrepancy. The columns are the modality's measures, and indicators of thresholds, empty
examples, repeated examples and sources. A column's name defines its content: `n_characters`, `n_characters>120`,
`is_empty`, `source=wordnet`. So only its name and its mean in the champion's corpus are stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from polydistill.contracts import Modality, Rule
from polydistill.errors import DataError, ShapeError
from polydistill.evaluation.statistics.bootstrap import Floats

EMPTY, REPEATED, NEW_SOURCE = "is_empty", "is_repeated", "is_new_source"
ABOVE, SOURCE = ">", "source="
QUANTILES = (0.1, 0.5, 0.9)
MAX_SOURCES = 20
"""Maximum number of source columns. Rarer sources count as new, to limit the columns if each row has its own source."""
LABELINGS_AT_A_TIME = 250
"""Number of labellings computed at once, to limit memory: with 2,000 pooled rows, each matrix takes 4 MB."""
Means = Mapping[str, float]


@dataclass(frozen=True)
class ColumnRange:
    """The allowed range of a column's mean.

    Attributes:
        column: The column's name.
        champion: Mean in the champion's corpus: the mean of a measure, or a share of rows in [0, 1].
        low: Lowest mean that does not count as drift.
        high: Highest mean that does not count as drift.
    """

    column: str
    champion: float
    low: float
    high: float

    @property
    def rule(self) -> Rule:
        """A rule that checks this range on the table that `derive` returns."""
        kwargs = {"column": self.column, "min_value": self.low, "max_value": self.high}
        because = f"{self.column} has moved from the champion's {self.champion:.4g}"
        return Rule("expect_column_mean_to_be_between", kwargs, because)


def choose_columns(corpus: pd.DataFrame, kind: Modality) -> list[str]:
    """Return the names of the columns that describe a corpus.

    Args:
        corpus: A table with the modality's column, and optionally a column `source`.
        kind: The modality; the measures are its `derived` columns.
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
        DataError: A name refers to a measure that the modality does not have.
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
        tolerance: Allowed deviation from a mean: relative for the modality's measures, absolute for shares of rows.
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


@dataclass(frozen=True)
class MmdTest:
    """The result of `mmd_test`, on the maximum mean discrepancy (MMD).

    Attributes:
        mmd2: The unbiased estimate of the squared discrepancy, dimensionless. It may be negative if there is no
            difference between the distributions.
        p: The p-value, in (0, 1]: the fraction of random labellings with at least this discrepancy.
        bandwidth: Bandwidth of the Gaussian kernel, in the embeddings' unit.
    """

    mmd2: float
    p: float
    bandwidth: float


def mmd_test(
    reference: ArrayLike,
    incoming: ArrayLike,
    *,
    permutations: int = 499,
    generator: np.random.Generator,
) -> MmdTest:
    r"""Test whether two samples come from the same distribution, with a Gaussian kernel.

    .. math:: \widehat{\mathrm{MMD}}^2_u = \frac{\sum_{i \ne j} k(x_i, x_j)}{m(m-1)}
        + \frac{\sum_{i \ne j} k(y_i, y_j)}{n(n-1)} - \frac{2}{mn} \sum_{i,j} k(x_i, y_j)

    Under the null hypothesis all rows are exchangeable. The test therefore pools both samples and permutes
    their labels, so :math:`p = (1 + \#\{\mathrm{MMD}^2_\pi \ge \mathrm{MMD}^2\}) / (1 + P)` is valid for any sample
    size. Resampling the reference alone would ignore the variance of the incoming rows and detect drift where there is
    none. The bandwidth is the median distance in the pooled sample. It does not depend on the labelling, so
    the test is exact.

    Args:
        reference: `(m, dim)`, at least two rows.
        incoming: `(n, dim)`, at least two rows.
        permutations: Number of random labellings, :math:`P`.
        generator: Random number generator of the labellings.

    Raises:
        ShapeError: The samples differ in width, or one has fewer than two rows or is not finite.

    References:
        Gretton et al. 2012, "A kernel two-sample test", JMLR 13, equation 3 and section 8 (the median distance).
        Phipson and Smyth 2010, "Permutation p-values should never be zero", doi:10.2202/1544-6115.1585 (the ones in
        `p`).
    """
    first, second = _sample("reference", reference), _sample("incoming", incoming)
    if first.shape[1] != second.shape[1]:
        raise ShapeError(
            f"`reference` must have width {second.shape[1]}, as `incoming`, got {first.shape[1]}."
        )
    distances = squared_distances(np.concatenate([first, second]))
    bandwidth = median_distance(distances)
    kernel = np.exp(distances / (-2.0 * bandwidth**2))
    labels = np.zeros((1, len(kernel)))
    labels[0, : len(first)] = 1.0
    mmd2 = float(labelled_mmd2(kernel, labels)[0])
    at_least = 0
    for start in range(0, permutations, LABELINGS_AT_A_TIME):
        size = min(LABELINGS_AT_A_TIME, permutations - start)
        drawn = generator.permuted(np.repeat(labels, size, axis=0), axis=1)
        tie = 1e-12  # tolerance for rounding: the same labelling may be summed in another order
        at_least += int((labelled_mmd2(kernel, drawn) >= mmd2 - tie).sum())
    return MmdTest(mmd2, (1 + at_least) / (1 + permutations), bandwidth)


def squared_distances(rows: Floats) -> Floats:
    """Return the squared distances between rows, `(n, n)`, non-negative and exactly zero on the diagonal."""
    centred = rows - rows.mean(axis=0)  # reduces rounding errors by cancellation
    norms = (centred**2).sum(axis=1)
    distances = norms[:, None] + norms[None, :] - 2.0 * centred @ centred.T
    np.fill_diagonal(distances, 0.0)
    return np.asarray(np.maximum(distances, 0.0))


def median_distance(distances: Floats) -> float:
    """Return the median distance between different rows, or one if more than half of the pairs are equal.

    Args:
        distances: Squared distances, `(n, n)`.
    """
    pairs = distances[np.triu_indices(len(distances), k=1)]
    median = float(np.median(np.sqrt(pairs)))
    return median if median > 0 else 1.0


def labelled_mmd2(kernel: Floats, labels: Floats) -> Floats:
    """Return the unbiased estimate of the squared discrepancy for each labelling, `(n_labelings,)`.

    Args:
        kernel: Kernel matrix, `(n, n)`, symmetric, with ones on the diagonal.
        labels: Labels, `(n_labelings, n)`: one for rows of the first sample, zero for rows of the second.
    """
    n_first = labels.sum(axis=1)
    n_second = labels.shape[1] - n_first
    towards_first = labels @ kernel  # (n_labelings, n)
    within = (towards_first * labels).sum(axis=1)
    across = towards_first.sum(axis=1) - within
    rest = kernel.sum() - within - 2.0 * across
    first = (within - n_first) / (n_first * (n_first - 1))
    second = (rest - n_second) / (n_second * (n_second - 1))
    return np.asarray(first + second - 2.0 * across / (n_first * n_second))


def _sample(name: str, values: ArrayLike) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 2 or len(sample) < 2 or not np.isfinite(sample).all():
        raise ShapeError(f"`{name}` must be (2 or more, dim) and finite, got {sample.shape}.")
    return sample
