"""Embeddings of many rows of one dimension, in a process of its own, to measure its memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polydistill.contracts import Embeddings, Example
from polydistill.data.ids import ID, Ids
from polydistill.embeddings.extraction import write_embeddings
from polydistill.embeddings.store import open_embeddings

SHARD_ROWS, TAKEN = 5_000, 4_096


class Numbers(Sequence[str]):
    """The numbers from 0 as texts, made when they are read."""

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows

    def __len__(self) -> int:
        return self._n_rows

    def __getitem__(self, rows: int | slice) -> str | list[str]:  # type: ignore[override]
        if isinstance(rows, slice):
            return [f"{row}" for row in range(*rows.indices(len(self)))]
        return f"{rows}"


class NumberTeacher:
    """A teacher whose embedding of a number is the number modulo 1,000."""

    name, dim, by_id = "numbers", 1, False
    identity: Mapping[str, str | int | float | bool | None] = {"family": "numbers", "version": 1}

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        values = np.array([[int(one) % 1_000] for one in examples], dtype=np.float32)
        return Embeddings(values, np.ones(len(examples), dtype=np.bool_))


def main(n_rows: int, folder: str) -> None:
    """Write and open the embeddings, read some rows, and print the largest resident set in MiB."""
    ids: Ids = np.arange(2 * n_rows, dtype=np.uint64).view(ID)
    place, work = Path(folder) / f"{n_rows}", Path(folder) / "work"
    write_embeddings(
        place,
        work,
        ids,
        Numbers(n_rows),
        NumberTeacher(),
        shard_rows=SHARD_ROWS,
        batch_size=SHARD_ROWS,
    )
    stored = open_embeddings(place)
    rows = np.random.default_rng(0).integers(n_rows, size=TAKEN)
    assert (stored.take(rows).values[:, 0] == rows % 1_000).all()
    assert stored.has_ids(ids)
    assert len(list(place.rglob("manifest.json"))) == -(-n_rows // (1_000 * SHARD_ROWS))
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in one]
    sys.stdout.write(f"{float(line.split()[1]) / 1024:.0f}\n")
