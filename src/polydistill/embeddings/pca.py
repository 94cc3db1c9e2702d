"""Fits the basis in which a teacher's embeddings of a corpus are stored."""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polydistill.contracts import Example, Progress, Teacher, silent
from polydistill.data.ids import IdRows
from polydistill.embeddings.basis import BASIS, Basis, left_out, measured_loss, principal_directions
from polydistill.embeddings.compute import LOCAL, Engine
from polydistill.embeddings.extraction import spread, write_embeddings
from polydistill.embeddings.shards import next_folder
from polydistill.embeddings.store import open_embeddings
from polydistill.errors import DataError
from polydistill.project.files import write_atomic

FITTED_ROWS = 8_192
"""The number of rows to which a basis is fitted: the first ones, so that it stays when rows are appended."""
TOLERATED = 0.02
"""Largest difference of the variance that is kept of a sample of all rows to the requested one, without a warning."""
_log = logging.getLogger(__name__)


class _Sample(Sequence[Any]):
    """Some rows of the examples, which are read when they are needed."""

    def __init__(self, examples: Sequence[Example], rows: Sequence[int]) -> None:
        self._examples, self._rows = examples, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return [self._examples[row] for row in self._rows[at]]
        return self._examples[self._rows[at]]


def corpus_basis(  # noqa: PLR0913  those of write_embeddings
    folder: Path,
    work: Path,
    ids: IdRows,
    examples: Sequence[Example],
    teacher: Teacher,
    variance: float,
    *,
    engine: Engine = LOCAL,
    progress: Progress = silent,
) -> Basis:
    """Return the basis of a teacher's embeddings of a corpus, fitted to its first rows, unless a folder has it already.

    Args:
        folder: The folder of the stored embeddings.
        work: The folder of finished shards, to which a fitted basis is written.
        ids: The ids of the rows.
        examples: The examples.
        teacher: The teacher.
        variance: The share of the sum of squares to keep, above 0 and at most 1.
        engine: Where embeddings are computed.
        progress: A function that is called after each batch.

    Raises:
        DataError: The teacher's embeddings of the first rows are missing or zero.
        PolydistillError: See `write_embeddings`.
    """
    first = ids[:FITTED_ROWS]
    rows = hashlib.sha256(first.tobytes()).hexdigest()
    fitted_to = json.dumps([dict(teacher.identity), teacher.dim, rows, variance], sort_keys=True)
    key = hashlib.sha256(fitted_to.encode()).hexdigest()
    for place in (folder, work, next_folder(folder)):
        if (known := Basis.read(place / BASIS)) is not None and known.key == key:
            return known
    sample = work / "sample"
    others = spread(len(ids))
    write_embeddings(
        sample,
        work / "sample-work",
        np.concatenate([first, *(ids[row : row + 1] for row in others)]),
        _Sample(examples, [*range(len(first)), *others]),
        teacher,
        dtype="float32",
        engine=engine,
        progress=progress,
    )
    found = open_embeddings(sample).take(np.arange(len(first) + len(others)))
    present = found.present[: len(first)]
    fitted = found.values[: len(first)][present]
    if not fitted.any():
        what = "an embedding of none" if not present.any() else "only zeros as embeddings"
        raise DataError(
            f"Teacher {teacher.name!r} has {what} of the first {len(first):,} rows, to which `store.kept_variance` fits "
            "a basis: omit it, or begin the corpus with other rows."
        )
    components = principal_directions(fitted, variance)
    seen = found.values[len(first) :][found.present[len(first) :]]
    basis = Basis(components, left_out(fitted, components), key, *measured_loss(fitted, components))
    if (kept := measured_loss(seen, components)[0]) < variance - TOLERATED:
        _log.warning(
            f"{teacher.name}: {basis.dim} dimensions keep {kept:.1%} of the variance of all rows, {variance:.1%} was "
            f"requested: the first {len(first):,} rows are unlike the others. Shuffle the corpus."
        )
    write_atomic(work / BASIS, basis.to_bytes())
    shutil.rmtree(sample)
    return basis
