"""Brings the stored embeddings of a teacher up to date: finds what is missing, computes it, and replaces the folder."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polydistill.contracts import Example, Progress, Teacher, silent
from polydistill.data.ids import IdRows, unpack_ids
from polydistill.data.images import share_images
from polydistill.embeddings import shards
from polydistill.embeddings.basis import BASIS, Basis
from polydistill.embeddings.compute import LOCAL, Computation, Engine, Job, Step
from polydistill.embeddings.exchange import Exchange
from polydistill.errors import PolydistillError, ShapeError
from polydistill.project.checksums import Checksums

ROW_OVERHEAD_BYTES = 17  # an id, and the overhead of Arrow
HEADROOM = 1.1
NAMED_ROWS = 4096
SHOWN_ROWS = 1_000
"""The number of examples, at regular intervals, from which those are chosen that show the order of a teacher's rows."""


@dataclass(frozen=True)
class WriteReport:
    """Counts of computed and reused shards.

    Attributes:
        computed: The number of shards that this call computed, including those in `rebuilt`.
        reused: The number of intact shards from the folder, from an unfinished run or from an exchange.
        rebuilt: The names of damaged files.
        rows_computed: The number of rows that this call embedded.
    """

    computed: int
    reused: int
    rebuilt: tuple[str, ...]
    rows_computed: int


def needed_bytes(n_examples: int, dim: int, dtype: str) -> int:
    """Estimate the size of embeddings on disk, in bytes."""
    return int(n_examples * (dim * np.dtype(dtype).itemsize + ROW_OVERHEAD_BYTES) * HEADROOM)


class Extraction:
    """A teacher's embeddings of some examples, in order, of which the missing shards are computed.

    Args:
        folder: The folder of the result; it is replaced with one rename after all shards are complete.
        work: The folder that keeps the finished shards while a run is incomplete; it is removed at the end.
        ids: One id per example; the keys of the shards are computed from the ids and the teacher's identity.
        examples: The examples to embed.
        teacher: The teacher that embeds the examples of missing shards.
        dtype: `float16` or `float32`.
        shard_rows: The number of rows per shard; all rows of a batch are in the same shard.
        batch_size: The number of rows per call of the teacher, which divides them further; examples in a call have
            similar lengths. Equal examples in a shard are embedded once.
        basis: The basis in which embeddings are stored, see `pca.corpus_basis`; None: the teacher's own.
        checksums: The checksums that are already known; None: the files of all shards are read.
        progress: A function that is called after each batch.

    Attributes:
        computation: How missing shards are computed.

    Raises:
        ShapeError: `ids` and `examples` have different lengths.
    """

    def __init__(  # noqa: PLR0913  the only way to fill the store
        self,
        folder: Path,
        work: Path,
        ids: IdRows,
        examples: Sequence[Example],
        teacher: Teacher,
        *,
        dtype: str = "float16",
        shard_rows: int = 4096,
        batch_size: int = 1024,
        basis: Basis | None = None,
        checksums: Checksums | None = None,
        progress: Progress = silent,
    ) -> None:
        if len(ids) != len(examples):
            raise ShapeError(
                f"`ids` must have length {len(examples)}, one per example, got {len(ids)}."
            )
        self._folder, self._work, self._examples = folder, work, examples
        self._n_rows, self._progress = len(ids), progress
        self._checksums = checksums or Checksums()
        self.computation = Computation(teacher, work, dtype, batch_size, basis)
        identity = {**self._identity, "dim": self.computation.dim, "dtype": dtype}
        if teacher.by_id and (names := _own_names(ids, examples)):
            identity["examples"] = names  # another id may have another embedding
        self._plan = shards.Plan(ids, identity, shard_rows)
        places = [folder, work, shards.next_folder(folder)]
        self._found = shards.find_shards(self._plan, places, self._checksums)
        self._done = len(ids) - sum(len(self._plan[number].ids) for number in self.missing)
        self._numbers = {shards.shard_file(number): number for number in self.missing}
        self._n_missing = self._rows_missing = 0

    @property
    def name(self) -> str:
        """The teacher's name."""
        return self.computation.teacher.name

    @property
    def has_images(self) -> bool:
        """Whether the examples are images."""
        return self._n_rows > 0 and isinstance(self._examples[0], bytes)

    @property
    def rows_missing(self) -> int:
        """The number of rows without an embedding."""
        return self._n_rows - self._done

    @property
    def missing(self) -> list[int]:
        """The numbers of the shards that are missing."""
        return [number for number, entry in enumerate(self._found.entries) if entry is None]

    def begin(self, exchange: Exchange | None = None) -> None:
        """Check that there is space, and copy the shards that an exchange has.

        Raises:
            DiskSpaceError: There is not enough disk space.
        """
        how = self.computation
        needed = needed_bytes(self.rows_missing, how.dim, how.dtype)
        shards.require_space(self._work, needed)
        with shards.full_disk_as_error(self._work):
            self._work.mkdir(parents=True, exist_ok=True)
            for entry in self._fetched(exchange):
                self.add(Step(entry.rows, entry))
        self._n_missing, self._rows_missing = len(self.missing), self.rows_missing

    def compute(self, engine: Engine) -> None:
        """Compute the missing shards.

        Raises:
            PolydistillError: See `write_embeddings`.
        """
        jobs = (self.job(number) for number in self.missing)
        with shards.full_disk_as_error(self._work):
            for step in engine.run(self.computation, self._some() if self.missing else [], jobs):
                self.add(step)

    def check(self) -> None:
        """Check the teacher on some examples if a shard is missing; see `Computation.check`."""
        if self.missing:
            self.computation.check(self._some())

    def steps(self, job: Job) -> Iterator[Step]:
        """Compute a shard in steps, and note the progress."""
        for step in self.computation.steps(job):
            self.add(step)
            yield step

    def _some(self) -> list[Example]:
        """Return examples at regular intervals."""
        return [self._examples[row] for row in spread(self._n_rows)]

    def job(self, number: int, inputs: Sequence[Example] | None = None) -> Job:
        """Return the computation of a missing shard; its examples are read, unless they are given."""
        shard = self._plan[number]
        return Job(shard, self._examples[shard.rows] if inputs is None else inputs)

    def add(self, step: Step) -> None:
        """Note the progress of a computation."""
        self._done += step.rows
        self._progress(self.name, self._done, self._n_rows)
        if (entry := step.entry) is not None:
            self._checksums.add(self._work / entry.file, entry.sha256)
            number = self._numbers[entry.file]
            self._found.entries[number], self._found.folders[number] = entry, self._work

    def finish(self) -> WriteReport:
        """Replace the folder with one that has all shards.

        Raises:
            DiskSpaceError: There is not enough disk space.
        """
        entries, others = [one for one in self._found.entries if one is not None], {}
        index: dict[str, Any] = {
            "dim": self.computation.dim,
            "dtype": self.computation.dtype,
            "identity": self._identity,
            "n_rows": self._n_rows,
            "teacher": self.name,
        }
        if (basis := self.computation.basis) is not None:
            others[BASIS] = basis.to_bytes()
            index["basis"] = hashlib.sha256(others[BASIS]).hexdigest()
        with shards.full_disk_as_error(self._work):
            shards.swap_in(self._folder, entries, self._found.folders, index, others)
            for entry in entries:
                self._checksums.add(self._folder / entry.file, entry.sha256)
        for finished in (self._work, shards.next_folder(self._folder)):
            shutil.rmtree(finished, ignore_errors=True)
        self._checksums.save()
        reused, damaged = len(self._plan) - self._n_missing, tuple(self._found.damaged)
        return WriteReport(self._n_missing, reused, damaged, self._rows_missing)

    @property
    def _identity(self) -> dict[str, object]:
        """The identity of the teacher, and of the basis in which its embeddings are stored."""
        how = self.computation
        own = {} if how.basis is None else {"basis": how.basis.sha256}
        return {**how.teacher.identity, **own}

    def _fetched(self, exchange: Exchange | None) -> Iterator[shards.Entry]:
        """Copy missing shards that an exchange has; yield the entry of each."""
        missing = self.missing
        if exchange is None or not missing:
            return
        known = exchange.keys()
        for number in missing:
            shard = self._plan[number]
            if shard.key in known and (entry := exchange.fetch(shard, self._work)) is not None:
                yield entry


def write_embeddings(
    folder: Path,
    work: Path,
    ids: IdRows,
    examples: Sequence[Example],
    teacher: Teacher,
    *,
    engine: Engine = LOCAL,
    **options: Any,
) -> WriteReport:
    """Write a teacher's embeddings of `examples` to `folder`, in order, and compute only the missing shards.

    Args:
        folder: See `Extraction`, as for the other arguments.
        work: See `Extraction`.
        ids: See `Extraction`.
        examples: See `Extraction`.
        teacher: See `Extraction`.
        engine: Where missing shards are computed.
        options: See `Extraction`.

    Raises:
        ShapeError: `ids` and `examples` have different lengths, or the teacher returns a shape other than `(n, dim)`.
        DataError: A teacher in a lower precision gives other embeddings than in float32; see `require_fidelity`.
        StoreError: The teacher returns NaN, infinity, a number that `dtype` cannot represent, or rows in a
            wrong order.
        DiskSpaceError: There is not enough disk space; partial files are removed.
    """
    extraction = Extraction(folder, work, ids, examples, teacher, **options)
    extraction.begin(engine.exchange)
    extraction.compute(engine)
    return extraction.finish()


def shared_groups(extractions: Sequence[Extraction]) -> list[list[Extraction]]:
    """Return the groups that `compute_together` can take: all extractions of images, and each other one alone."""
    images = [one for one in extractions if one.has_images]
    return [*([images] if images else []), *([one] for one in extractions if not one.has_images)]


def compute_together(
    extractions: Sequence[Extraction], failed: dict[str, PolydistillError] | None = None
) -> None:
    """Compute the missing shards of several teachers; an image is decoded once for all of them.

    The shards are kept in each teacher's folder of work, where its own extraction finds them.

    Args:
        extractions: Extractions of the same examples in shards of the same size, by different teachers.
        failed: To which the error of each teacher that fails is added, while the others go on; teachers that it has
            are left out. None: an error is raised.

    Raises:
        PolydistillError: See `write_embeddings`.
    """
    missing = {one: set(one.missing) for one in extractions if one.name not in (failed or ())}
    for one in missing:
        with _kept(failed, one):
            one.check()
    for number in sorted(set[int]().union(*missing.values())):
        lacking = [one for one in missing if number in missing[one]]
        lacking = [one for one in lacking if one.name not in (failed or ())]
        if lacking:
            _compute_shard(number, lacking, failed)


def _compute_shard(
    number: int, extractions: Sequence[Extraction], failed: dict[str, PolydistillError] | None
) -> None:
    """Compute a shard of several teachers, one batch of each in turn."""
    inputs = share_images(extractions[0].job(number).inputs, len(extractions))
    running = [(one, one.steps(one.job(number, inputs))) for one in extractions]
    while running:
        going = []
        for one, steps in running:
            with _kept(failed, one):
                if next(steps, None) is not None:
                    going.append((one, steps))
        running = going


@contextmanager
def _kept(failed: dict[str, PolydistillError] | None, extraction: Extraction) -> Iterator[None]:
    """Add an error of a teacher to `failed`, or raise it."""
    try:
        with shards.full_disk_as_error(extraction.computation.work):
            yield
    except PolydistillError as error:
        if failed is None:
            raise
        failed[extraction.name] = error


def spread(n_rows: int) -> range:
    """Return about a thousand of the numbers below `n_rows`, at regular intervals."""
    return range(0, n_rows, max(-(-n_rows // SHOWN_ROWS), 1))


def _own_names(ids: IdRows, examples: Sequence[Example]) -> str | None:
    """Return the hash of the examples if they are other names of the rows than their ids, else None."""
    names, same = hashlib.sha256(), True
    for start in range(0, len(ids), NAMED_ROWS):
        part = list(examples[start : start + NAMED_ROWS])
        same = same and part == unpack_ids(ids[start : start + NAMED_ROWS])
        names.update(json.dumps(part).encode())
    return None if same else names.hexdigest()
