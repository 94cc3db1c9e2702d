"""PHI-S: rotates a teacher's embeddings to equal variances, then divides them by one common scale."""

import numpy as np
from numpy.typing import NDArray

from polydistill.training.standardise import Rows, Standardiser, used_blocks
from polydistill.training.weighting import WEIGHTINGS, Weighting

LEAST_SHARE = 1e-12
"""A variance that is a smaller share of the greatest is rounding: fewer rows than dimensions leave such directions."""
Matrix = NDArray[np.float64]


@WEIGHTINGS.register("phi-s")
class PhiS(Weighting):
    """Gives errors in all directions of a teacher's space the same weight, whatever the variance in them.

    References:
        Ranzinger et al. 2024, "PHI-S: distribution balancing for label-free multi-teacher distillation",
        arXiv:2410.01680. The paper rotates by a Hadamard matrix, which exists only for some widths; a
        chain of plane rotations works for every width.
    """

    def fit(self, values: Rows, rows: NDArray[np.bool_]) -> Standardiser:
        """See `Weighting.fit`."""
        dim, n_used = values.shape[1], max(int(rows.sum()), 1)
        total, products = np.zeros(dim), np.zeros((dim, dim))
        for used in used_blocks(values, rows):
            total += used.sum(axis=0)
        mean = total / n_used
        for used in used_blocks(values, rows):
            centred = used - mean
            products += centred.T @ centred
        covariance = products * (1 / n_used)  # as np.cov does
        if not np.trace(covariance) > 0:
            return Standardiser(mean.astype(np.float32), np.ones(dim, np.float32))
        variances, directions = np.linalg.eigh(covariance)
        variances[variances < LEAST_SHARE * variances.max()] = (
            0  # so that rounding does not order them
        )
        largest = np.abs(directions).argmax(axis=0)
        directions *= np.sign(directions[largest, np.arange(dim)])  # fix arbitrary signs
        rotation = equalising_rotation(variances) @ directions.T
        scale = np.full(dim, np.sqrt(variances.mean()))
        return Standardiser(
            mean.astype(np.float32), scale.astype(np.float32), rotation.astype(np.float32)
        )


def equalising_rotation(variances: NDArray[np.float64]) -> Matrix:
    """Return a rotation, `(dim, dim)`, after which uncorrelated variables have equal variances.

    Each plane rotation gives one variable the mean variance and its partner the remainder. That variable is not
    rotated again, so the remaining variables stay uncorrelated.
    """
    dim = len(variances)
    rotation: Matrix = np.eye(dim)
    current, mean = variances.astype(np.float64).copy(), float(np.mean(variances))
    open_ = list(np.argsort(current))
    while len(open_) > 1:
        low, high = open_[0], open_[-1]
        spread = current[high] - current[low]
        if spread <= 1e-12 * max(mean, 1e-300):
            break
        cosine = np.sqrt((current[high] - mean) / spread)
        sine = np.sqrt(max(0.0, 1 - cosine**2))
        first, second = rotation[low].copy(), rotation[high].copy()
        rotation[low] = cosine * first + sine * second
        rotation[high] = cosine * second - sine * first
        current[high] += current[low] - mean
        current[low] = mean
        open_ = sorted(open_[1:], key=lambda variable: current[variable])
    return rotation
