"""Examples of the corpus about whose neighbours the student and a teacher disagree most."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import FloatArray
from polydistill.report.drawings import Drawing, draw
from polydistill.report.space import Space
from polydistill.students import unit_length

DEPTH = 10
"""Number of neighbours that are compared."""
SHOWN = 5
"""Number of queries, and of neighbours of each that are shown."""
QUERIES, ANSWERS = 500, 5_000
SURE = 0.5
"""Queries whose nearest neighbour by the teacher is less similar than this quantile are left out: nothing is near."""


@dataclass(frozen=True)
class Neighbour:
    """One row near a query.

    Attributes:
        example: The row, as it is shown.
        cosine: Its cosine similarity to the query.
        shared: Whether the other model has it among its nearest ten too.
    """

    example: Drawing
    cosine: float
    shared: bool


@dataclass(frozen=True)
class Disagreement:
    """A query, and its nearest rows by the student and by the teacher.

    Attributes:
        query: The query, as it is shown.
        source: The source of the query.
        overlap: Share of the nearest ten that both models have, in [0, 1].
        student: The nearest rows by the student.
        teacher: The nearest rows by the teacher.
    """

    query: Drawing
    source: str
    overlap: float
    student: tuple[Neighbour, ...]
    teacher: tuple[Neighbour, ...]


@dataclass(frozen=True)
class Disagreements:
    """The queries of the largest disagreement.

    Attributes:
        teacher: The teacher's name.
        n_queries: Number of held-out rows that were tried as queries.
        n_rows: Number of training rows among which the neighbours are.
        overlap: The mean share of common neighbours over all queries.
        worst: The queries of the largest disagreement, at most two per source while there are other sources.
    """

    teacher: str
    n_queries: int
    n_rows: int
    overlap: float
    worst: tuple[Disagreement, ...]


def disagreements(space: Space, teacher: str, modality: str) -> Disagreements | None:
    """Compare the nearest rows of held-out queries by the student and by one teacher.

    Returns:
        None: there are too few rows.
    """
    embedded = space.teachers[teacher]
    queries = np.flatnonzero(space.held_out & embedded.present)[:QUERIES]
    rows = np.flatnonzero(~space.held_out & embedded.present)[:ANSWERS]
    if not len(queries) or len(rows) <= DEPTH:
        return None
    theirs = unit_length(embedded.values)
    (near, cosines), (near_, cosines_) = (
        _nearest(values[queries], values[rows]) for values in (space.student, theirs)
    )
    overlap = np.array([len(set(a) & set(b)) for a, b in zip(near, near_, strict=True)]) / DEPTH
    sure = cosines_[:, 0] >= np.quantile(cosines_[:, 0], SURE)
    order = [one for one in np.lexsort((-cosines_[:, 0], overlap)).tolist() if sure[one]]
    chosen = _spread([space.sources[queries[one]] for one in order], order)

    def neighbours(
        one: int, own: NDArray[np.int64], cosine: FloatArray, other: NDArray[np.int64]
    ) -> tuple[Neighbour, ...]:
        return tuple(
            Neighbour(
                draw(space.examples[rows[place]], modality), float(value), bool(place in other[one])
            )
            for place, value in zip(own[one][:SHOWN], cosine[one][:SHOWN], strict=True)
        )

    worst = tuple(
        Disagreement(
            query=draw(space.examples[queries[one]], modality),
            source=space.sources[queries[one]],
            overlap=float(overlap[one]),
            student=neighbours(one, near, cosines, near_),
            teacher=neighbours(one, near_, cosines_, near),
        )
        for one in chosen
    )
    return Disagreements(teacher, len(queries), len(rows), float(overlap.mean()), worst)


def _nearest(queries: FloatArray, rows: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """Return the nearest rows of each query and their cosines, each `(n_queries, DEPTH)`."""
    cosines = queries @ rows.T
    near = np.argsort(-cosines, axis=1, kind="stable")[:, :DEPTH]
    return near, np.take_along_axis(cosines, near, axis=1)


def _spread(sources: list[str], order: list[int]) -> list[int]:
    """Return the first queries in order, at most two per source while there are others."""
    few, rest = list[int](), list[int]()
    for place, (source, one) in enumerate(zip(sources, order, strict=True)):
        (few if sources[:place].count(source) < 2 else rest).append(one)
    return [*few, *rest][:SHOWN]
