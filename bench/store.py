"""The embedding store against numpy's files and memory-mapped arrays: 20,000 rows of width 384, float16."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.measure import Row, best_seconds, compare_seconds
from polydistill.contracts import Embeddings, Example
from polydistill.data.ids import pack_ids
from polydistill.embeddings.extraction import write_embeddings
from polydistill.embeddings.shards import Plan, write_shard
from polydistill.embeddings.store import open_embeddings
from polydistill.project.checksums import Checksums

N_ROWS, DIM, BATCH, SHARD_ROWS = 20_000, 384, 1024, 4096


class _Table:
    """A teacher that reads a table, so that only the store is timed."""

    name, dim, by_id = "table", DIM, False
    identity: Mapping[str, str | int | float | bool | None] = {"family": "table", "version": 1}

    def __init__(self) -> None:
        self.values = np.random.default_rng(0).normal(size=(N_ROWS, DIM)).astype(np.float32)

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        rows = [int(example) for example in examples]
        return Embeddings(self.values[rows], np.ones(len(rows), dtype=np.bool_))


def run() -> list[Row]:
    """Time writing, reading everything, and reading random rows."""
    with tempfile.TemporaryDirectory() as name:
        return _measure(Path(name))


def _measure(root: Path) -> list[Row]:  # noqa: C901 - one function per way to read or write
    teacher = _Table()
    examples = [f"{row:032d}" for row in range(N_ROWS)]
    ids = pack_ids(examples)
    folder, file = root / "ours", root / "peer.npy"
    rows = np.random.default_rng(1).permutation(N_ROWS)[:BATCH]

    def write_ours() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        write_embeddings(folder, root / "work", ids, examples, teacher)

    def write_peer() -> None:
        np.save(file, teacher.values.astype(np.float16))

    halves, note = teacher.values.astype(np.float16), root / "note.json"
    plan, whole = Plan(ids, {}, SHARD_ROWS), np.ones(N_ROWS, dtype=np.bool_)

    def write_shards() -> None:
        shutil.rmtree(root / "shards", ignore_errors=True)
        for shard in plan:
            write_shard(root / "shards", shard, halves[shard.rows], whole[shard.rows])

    def write_mapped() -> None:
        (root / "mapped").unlink(missing_ok=True)
        mapped = np.memmap(root / "mapped", np.float16, "w+", shape=halves.shape)
        mapped[:] = halves
        mapped.flush()

    def read_ours() -> object:
        return open_embeddings(folder).take(np.arange(N_ROWS)).values

    def read_known() -> object:
        return open_embeddings(folder, Checksums(note)).take(np.arange(N_ROWS)).values

    def read_peer() -> object:
        return np.load(file, allow_pickle=False).astype(np.float32)

    written, read = best_seconds(write_ours, write_peer), best_seconds(read_ours, read_peer)
    shards, known = best_seconds(write_shards, write_mapped), best_seconds(read_known, read_peer)
    stored, mapped = open_embeddings(folder), np.load(file, mmap_mode="r", allow_pickle=False)
    taken = best_seconds(
        lambda: stored.take(rows).values, lambda: mapped[rows].astype(np.float32), repetitions=20
    )
    return [
        compare_seconds("store: write with ids and checksums, against np.save", written),
        compare_seconds("store: write shards with checksums, against a mapped array", shards),
        compare_seconds("store: verify and read all, against np.load", read),
        compare_seconds("store: open again and read all, against np.load", known),
        compare_seconds(f"store: {BATCH} random rows, against a mapped .npy", taken),
    ]
