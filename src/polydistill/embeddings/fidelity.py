"""The test that a teacher in a lower precision gives nearly the embeddings that it gives in float32."""

from collections.abc import Sequence

import numpy as np

from polydistill.contracts import Example, FloatArray, ReducedPrecision, Teacher
from polydistill.errors import DataError

SAMPLE = 1_000
"""The number of examples that are embedded in both precisions."""


def require_fidelity(teacher: Teacher, examples: Sequence[Example]) -> None:
    """Check a teacher in a lower precision against itself in float32, on examples at regular intervals.

    Other teachers are not checked. Rows that one of the two lacks are ignored.

    Raises:
        DataError: The cosine similarity of an embedding to that in float32 is below `teacher.fidelity`.
    """
    if not isinstance(teacher, ReducedPrecision) or (whole := teacher.in_float32()) is None:
        return
    some = examples[:: max(len(examples) // SAMPLE, 1)][:SAMPLE]
    reduced, full = teacher.embed(some), whole.embed(some)
    rows = np.flatnonzero(reduced.present & full.present)
    similarity = cosines(reduced.values[rows], full.values[rows])
    below = np.flatnonzero(~(similarity >= teacher.fidelity))  # NaN too
    if len(below):
        worst = below[np.nanargmin(np.nan_to_num(similarity[below], nan=-1.0))]
        raise DataError(
            f"Teacher {teacher.name!r} with precision {teacher.identity['precision']} gives other embeddings than in "
            f"float32: of {len(rows):,} examples, {len(below):,} have a cosine similarity below "
            f"{teacher.fidelity:g}, at worst {similarity[worst]:.5f} for {some[rows[worst]]!r:.60}. "
            "Set `precision: float32`, or allow more with `fidelity`."
        )


def cosines(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the cosine similarity of each row of `(n, dim)` to the same row of the other, `(n,)`.

    Examples:
        >>> cosines(np.eye(2, dtype=np.float32), np.ones((2, 2), dtype=np.float32)).round(3).tolist()
        [0.7070000171661377, 0.7070000171661377]
    """
    a, b = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (a * b).sum(axis=1) / lengths
    found[(np.abs(a).max(axis=1, initial=0) == 0) & (np.abs(b).max(axis=1, initial=0) == 0)] = 1.0
    return np.asarray(found, dtype=np.float32)
