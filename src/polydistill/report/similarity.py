"""How alike the spaces of models are: linear centred kernel alignment (CKA)."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from polydistill.contracts import FloatArray
from polydistill.report.space import SIMILARITY_ROWS, Space
from polydistill.report.tables import STUDENT, UNDISTILLED
from polydistill.students import unit_length

FEWEST = 3


def linear_cka(first: ArrayLike, second: ArrayLike) -> float:
    r"""Return the linear CKA of two tables of embeddings of the same rows, in [0, 1]; 0 if one is constant.

    .. math:: \|Y^\top X\|_F^2 / (\|X^\top X\|_F \|Y^\top Y\|_F)

    Args:
        first: `(n_rows, first_dim)`; its columns are centred here.
        second: `(n_rows, second_dim)`.

    References:
        Kornblith et al. 2019, "Similarity of neural network representations revisited", arXiv:1905.00414.

    Examples:
        >>> x = np.eye(4, 3)
        >>> round(linear_cka(x, 2 * x[:, ::-1]), 6)
        1.0
    """
    x, y = (np.asarray(one, np.float64) for one in (first, second))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / scale) if scale > 0 else 0.0


def similarities(space: Space) -> dict[str, dict[str, float]] | None:
    """Return the CKA of every two of student, undistilled student and teachers; all embeddings have length one.

    Only rows that every teacher has embedded are used.

    Returns:
        By model and model. None: there are too few such rows.
    """
    present = np.ones(min(len(space.examples), SIMILARITY_ROWS), dtype=np.bool_)
    for one in space.teachers.values():
        present &= one.present[:SIMILARITY_ROWS]
    if present.sum() < FEWEST:
        return None
    tables: dict[str, FloatArray] = {STUDENT: space.student[:SIMILARITY_ROWS][present]}
    if space.undistilled is not None:
        tables[UNDISTILLED] = space.undistilled[present]
    tables |= {name: one.values[:SIMILARITY_ROWS][present] for name, one in space.teachers.items()}
    return _matrix({name: unit_length(table) for name, table in tables.items()})


def _matrix(tables: Mapping[str, FloatArray]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {name: {} for name in tables}
    names = list(tables)
    for place, one in enumerate(names):
        for other in names[place:]:
            value = 1.0 if one == other else linear_cka(tables[one], tables[other])
            found[one][other] = found[other][one] = value
    return found
