r"""Scores per example whose mean is the task's main score.

A statistic :math:`T` of a whole sample is converted to one number per example by its empirical influence:
:math:`s_i = T + \mathrm{IF}_i` with :math:`\sum_i \mathrm{IF}_i = 0`. Their mean is :math:`T` exactly, and the mean
over resampled examples is, to first order, :math:`T` of the resampled sample. Therefore the same paired
bootstrap is used for accuracies, correlations, rankings and clusterings.

References:
    Hampel 1974, "The influence curve and its role in robust estimation"; Efron 1982, "The jackknife,
    the bootstrap and other resampling plans" (the infinitesimal jackknife).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]


def pearson_scores(first: ArrayLike, second: ArrayLike) -> Floats:
    r"""Return scores, `(n,)`, whose mean is Pearson's :math:`r`; all zero if one input is constant.

    .. math:: s_i = r + z_i w_i - \tfrac{r}{2} (z_i^2 + w_i^2)

    where :math:`z` and :math:`w` are the two standardised inputs.

    Examples:
        >>> pearson_scores([1, 2, 3, 4], [2, 4, 6, 8]).mean().round(12)
        np.float64(1.0)
    """
    z, w = _standardise(first), _standardise(second)
    if not (z.any() and w.any()):
        return np.zeros(len(z))
    r = float((z * w).mean())
    return np.asarray(r + z * w - 0.5 * r * (z**2 + w**2))


def spearman_scores(first: ArrayLike, second: ArrayLike) -> Floats:
    """Return scores, `(n,)`, whose mean is Spearman's rank correlation: `pearson_scores` of the ranks.

    The scores ignore that resampling changes the ranks.
    """
    return pearson_scores(rankdata(np.asarray(first)), rankdata(np.asarray(second)))


def auroc_scores(positive: ArrayLike, decisions: ArrayLike) -> Floats:
    r"""Return scores, `(n,)`, whose mean is the area under the ROC curve.

    The placement :math:`a_i` of a positive example is the fraction of negatives with a lower decision value. That of a
    negative example is the fraction of positives with a higher value. Ties count as one half. The mean placement of
    either class is the area :math:`A`. The scores are

    .. math:: s_i = A + (a_i - A) / p_i

    where :math:`p_i` is the fraction of examples in the same class as example :math:`i`.

    Args:
        positive: `(n,)`, bool; both classes must occur.
        decisions: Decision values, `(n,)`; higher means more likely positive.

    References:
        Hanley and Hajian-Tilaki 1997, "Sampling variability of nonparametric estimates of the areas under
        receiver operating characteristic curves" (placements).

    Examples:
        >>> auroc_scores([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8]).mean()
        np.float64(1.0)
    """
    truth, values = np.asarray(positive, dtype=bool), np.asarray(decisions, dtype=np.float64)
    ranks, own = rankdata(values), np.empty(len(values))
    for one in (truth, ~truth):
        own[one] = rankdata(values[one])
    n_others = np.where(truth, (~truth).sum(), truth.sum())
    below = (ranks - own) / n_others
    placements = np.where(truth, below, 1 - below)
    area = float(placements[truth].mean())
    scores: Floats = area + (placements - area) / np.where(truth, truth.mean(), 1 - truth.mean())
    return scores


def average_precision_scores(positive: ArrayLike, decisions: ArrayLike) -> Floats:
    r"""Return scores, `(n,)`, whose mean is the average precision.

    Let :math:`A(t)` and :math:`B(t)` be the fractions of examples with a decision value of at least :math:`t` that
    are positive and that are of any class, so :math:`A/B` is the precision at the threshold :math:`t`. With the
    fraction :math:`p` of positives, the average precision is :math:`T = \operatorname{E}[y A(s)/B(s)] / p`, as
    scikit-learn computes it, and the scores are

    .. math:: s_i = T + \tfrac{1}{p} \Bigl( y_i \bigl(\tfrac{A(t_i)}{B(t_i)} - T\bigr)
        + \operatorname{E}\bigl[y 1_{t \le t_i} \tfrac{y_i B(t) - A(t)}{B(t)^2}\bigr] \Bigr).

    The second term is the change of the precision at lower thresholds. Equal decision values share one threshold.

    Args:
        positive: `(n,)`, bool; both classes must occur.
        decisions: Decision values, `(n,)`; higher means more likely positive.

    Examples:
        >>> average_precision_scores([0, 1, 0, 1], [0.1, 0.9, 0.8, 0.8]).mean().round(3)
        np.float64(0.833)
    """
    truth = np.asarray(positive, dtype=np.float64)
    values, place = np.unique(np.asarray(decisions, dtype=np.float64), return_inverse=True)
    n_positive = np.bincount(place, truth, minlength=len(values)) / len(truth)
    n_any = np.bincount(place, minlength=len(values)) / len(truth)
    above, above_any = (shares[::-1].cumsum()[::-1] for shares in (n_positive, n_any))  # A and B
    precision, share = above / above_any, truth.mean()
    area = float((n_positive * precision).sum() / share)
    gained = (n_positive / above_any).cumsum()[place]
    lost = (n_positive * precision / above_any).cumsum()[place]
    own = truth * (precision[place] - area)
    return np.asarray(area + (own + truth * gained - lost) / share)


def v_measure_scores(labels: Sequence[object], clusters: Sequence[object]) -> Floats:
    r"""Return scores, `(n,)`, whose mean is the V-measure of a clustering.

    The V-measure is :math:`V = 2 I(C; K) / (H(C) + H(K))`. Here :math:`I` is the mean over examples of
    :math:`\log \frac{p(c_i, k_i)}{p(c_i) p(k_i)}`, and :math:`H(C)` is the mean of :math:`-\log p(c_i)`.

    References:
        Rosenberg and Hirschberg 2007, "V-measure"; Becker 2011 shows that it is the mutual
        information divided by the mean of the entropies.
    """
    joint, label, cluster = (
        _log_share(pairs)
        for pairs in (list(zip(labels, clusters, strict=True)), list(labels), list(clusters))
    )
    information = joint - label - cluster
    entropies = -label - cluster
    total = float(entropies.mean())
    if total == 0.0:
        return np.ones(len(joint))  # one class and one cluster: perfect agreement
    v = 2.0 * float(information.mean()) / total
    return np.asarray(v + (2.0 * information - v * entropies) / total)


def _standardise(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    centred = array - array.mean()
    spread = float(np.sqrt((centred**2).mean()))
    # The deviations of a constant column from its computed mean are rounding errors.
    if spread <= 1e-12 * max(1.0, float(np.abs(array).max())):
        return np.zeros_like(array)
    return np.asarray(centred / spread)


def _log_share(values: Sequence[object]) -> Floats:
    """Return, for each example, the logarithm of the fraction of examples with the same value."""
    numbers: dict[object, int] = {}
    codes = np.array([numbers.setdefault(value, len(numbers)) for value in values])
    return np.asarray(np.log(np.bincount(codes)[codes] / len(codes)))
