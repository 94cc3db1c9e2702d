"""Computes the embeddings of shards: in this process, or through an engine on other machines."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Embeddings, Example, Teacher
from polydistill.data.ids import Ids, unpack_ids
from polydistill.embeddings.basis import Basis
from polydistill.embeddings.exchange import Exchange
from polydistill.embeddings.fidelity import require_fidelity
from polydistill.embeddings.shards import Entry, Shard, write_shard
from polydistill.errors import ShapeError, StoreError

NAMED = 3  # the maximum number of row ids in an error message
ORDER_TOLERANCE = 1e-3  # smaller differences in distance are no evidence of a wrong order
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Job:
    """A missing shard and its examples."""

    shard: Shard
    inputs: Sequence[Example]


@dataclass(frozen=True)
class Step:
    """Progress of a computation.

    Attributes:
        rows: The number of rows that are done since the last step.
        entry: A shard that is finished; None after a batch of an unfinished one.
    """

    rows: int
    entry: Entry | None = None


@dataclass(frozen=True)
class Computation:
    """How missing shards are computed.

    Attributes:
        teacher: The teacher.
        work: The folder of finished shards.
        dtype: The type of the stored numbers.
        batch_size: The number of rows per call of the teacher.
        basis: The basis in which embeddings are stored; None: the teacher's own.
    """

    teacher: Teacher
    work: Path
    dtype: str
    batch_size: int
    basis: Basis | None = None

    @property
    def dim(self) -> int:
        """The width of stored embeddings."""
        return self.teacher.dim if self.basis is None else self.basis.dim

    def check(self, examples: Sequence[Example]) -> None:
        """Check the teacher's order of rows, and its precision; see `fidelity.require_fidelity`.

        Raises:
            StoreError: The teacher returns rows in a wrong order.
            DataError: The teacher gives other embeddings than in float32.
        """
        _require_order(self.teacher, examples)
        require_fidelity(self.teacher, examples)

    def steps(self, job: Job) -> Iterator[Step]:
        """Compute a shard and write it to `work`; yield a step after each batch.

        Raises:
            ShapeError: The teacher returns a shape other than `(n, dim)`.
            StoreError: The teacher returns NaN, infinity, or a number that `dtype` cannot represent.
        """
        inputs = job.inputs
        values = np.zeros((len(inputs), self.dim), dtype=self.dtype)
        present = np.zeros(len(inputs), dtype=np.bool_)
        first = _first_rows(inputs)
        for rows in _batches(inputs, np.unique(first), self.batch_size):
            batch = [inputs[row] for row in rows]
            values[rows], present[rows] = self._embed(job.shard.ids[rows], batch)
            yield Step(len(rows))
        n_repeated = int((first != np.arange(len(first))).sum())
        yield Step(n_repeated, write_shard(self.work, job.shard, values[first], present[first]))

    def _embed(
        self, ids: Ids, examples: Sequence[Example]
    ) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
        """Embed examples and check the result; return the stored values, `(n, dim)`, and the presence mask, `(n,)`."""
        result = _checked(self.teacher, examples)
        values = result.values if self.basis is None else self.basis.reduce(result.values)
        with np.errstate(over="ignore"):
            stored: NDArray[np.floating] = values.astype(self.dtype)
        bad = ~np.isfinite(stored).all(axis=1) & result.present
        if bad.any():
            is_finite = np.isfinite(result.values[bad]).all()
            what = f"a number that {self.dtype} cannot hold" if is_finite else "NaN or infinity"
            remedy = ": set store.dtype to float32" if is_finite else ""
            named = ", ".join(unpack_ids(ids[np.flatnonzero(bad)[:NAMED]]))
            raise StoreError(
                f"Teacher {self.teacher.name!r} returned {what} for {bad.sum()} rows ({named}){remedy}."
            )
        return stored, result.present


class Engine(Protocol):
    """Computes the missing shards of a teacher's embeddings.

    Attributes:
        exchange: Where finished shards of other machines may be; None: nowhere.
    """

    exchange: Exchange | None

    def run(
        self, computation: Computation, some: Sequence[Example], jobs: Iterable[Job]
    ) -> Iterator[Step]:
        """Check the teacher on some examples, then compute all jobs, in any order; without a job, do nothing."""


class LocalEngine:
    """Computes one shard after the other in this process."""

    exchange: Exchange | None = None

    def run(
        self, computation: Computation, some: Sequence[Example], jobs: Iterable[Job]
    ) -> Iterator[Step]:
        """See `Engine.run`."""
        for number, job in enumerate(jobs):
            if number == 0:
                computation.check(some)
            yield from computation.steps(job)


LOCAL = LocalEngine()


def _batches(examples: Sequence[Example], rows: Ints, batch_size: int) -> Iterator[Ints]:
    """Yield the rows of each batch. They are sorted by the length of their examples to reduce padding."""
    order = rows[np.argsort([len(examples[row]) for row in rows], kind="stable")]
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _first_rows(examples: Sequence[Example]) -> Ints:
    """Return the index of the first equal example for each example, `(n_examples,)`."""
    first: dict[Example, int] = {}
    found = [first.setdefault(example, row) for row, example in enumerate(examples)]
    return np.array(found, dtype=np.int64)


def _checked(teacher: Teacher, examples: Sequence[Example]) -> Embeddings:
    """Embed examples, and check the shapes and types of the result."""
    result, expected = teacher.embed(examples), (len(examples), teacher.dim)
    values, present = result.values, result.present
    if values.shape != expected or present.shape != expected[:1]:
        raise ShapeError(
            f"Teacher {teacher.name!r} must return shape {expected}, got {values.shape}, with one "
            f"`present` per row, got {present.shape}."
        )
    if values.dtype != np.float32 or present.dtype != np.bool_:
        raise StoreError(
            f"Teacher {teacher.name!r} must return float32 values and bool presence, got "
            f"{values.dtype} and {present.dtype}."
        )
    return result


def _require_order(teacher: Teacher, examples: Sequence[Example]) -> None:
    """Raise `StoreError` if the teacher returns rows in another order than its examples, such as sorted by length.

    The longest example is embedded alone, and together with the shortest example in both orders. In each pair, the row
    of the longest example must be closer to its embedding alone than the row of the shortest example.
    """
    pair = [max(examples, key=len), min(examples, key=len)]
    alone = _checked(teacher, pair[:1])
    for own, other, batch in ((0, 1, pair), (1, 0, pair[::-1])):
        together = _checked(teacher, batch)
        with np.errstate(invalid="ignore"):  # infinity is refused when its row is embedded
            distances = np.abs(together.values - alone.values).max(axis=1)  # (2,)
        if alone.present.all() and distances[own] > distances[other] + ORDER_TOLERANCE:
            raise StoreError(
                f"Teacher {teacher.name!r} must return rows in the order of its examples: embedded "
                f"together, {batch[other]!r:.60} and {pair[0]!r:.60} were returned in reverse order."
            )
