"""An ensemble of teachers: one block of columns per teacher, all with the same weight."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Embeddings

WIDTH = 128
"""Maximum number of columns per teacher. For the three wide teachers of the default run, the reduction costs .010 to
.017 in the mean over kinds."""
FLAT = 1e-6
"""Differences between unit-length rows below this are rounding errors."""
Floats = NDArray[np.float64]


def make_block(embeddings: Embeddings, width: int = WIDTH) -> Embeddings:
    """Return a teacher's part of an ensemble, `(n_examples, min(width, dim))`.

    Rows are scaled to unit length, centred (otherwise a direction common to all embeddings would dominate), projected
    on their first principal axes, and scaled to unit length again. The cosine of an ensemble is therefore the mean of
    its teachers' cosines, and a wide teacher has no more columns for a probe to fit than others. The axes are computed
    from the inputs without labels.

    Missing rows are zeros, and so are all rows of a teacher with a constant embedding.
    """
    from sklearn.decomposition import PCA

    present, dim = embeddings.present, embeddings.values.shape[1]
    block = np.zeros((len(present), min(width, dim)), dtype=np.float32)
    if present.any():
        rows = _unit(embeddings.values[present].astype(np.float64))
        centred = rows - rows.mean(axis=0)
        if np.abs(centred).max() > FLAT:
            n_axes = min(width, *centred.shape)
            turned = PCA(n_axes, svd_solver="covariance_eigh").fit_transform(centred)
            block[present, :n_axes] = _unit(turned)
    return Embeddings(block, present)


def join(blocks: Sequence[Embeddings]) -> Embeddings:
    """Return the concatenated blocks, `(n_examples, sum of widths)`; a row is present if it is in any block."""
    values = np.hstack([block.values for block in blocks])
    return Embeddings(values, np.any([block.present for block in blocks], axis=0))


def _unit(rows: Floats) -> Floats:
    """Scale rows, `(n, dim)`, to unit length; nearly zero rows become zeros."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.where(lengths > FLAT, rows, 0) / np.maximum(lengths, FLAT))
