"""Mapped tables: the memory that reading them needs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from polydistill.data import columns
from polydistill.data.columns import Column, MappedTable, TableWriter

ROWS, WIDTH, BATCHES, READ = 2_000, 1_000, 50, 10_000


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 95 MiB."""
    file = tmp_path_factory.mktemp("tables") / "t.arrow"
    with TableWriter(file) as writer:
        for batch in range(BATCHES):
            values = [f"{batch * ROWS + row:0{WIDTH}d}" for row in range(ROWS)]
            writer.write({"text": pa.array(values, pa.large_string())})
    return file


def mapped_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("RssFile"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="the test reads /proc")
@pytest.mark.parametrize("order", ["as stored", "random"])
def test_reading_a_large_table_keeps_few_of_its_pages(table: Path, order: str) -> None:
    rows = np.arange(ROWS * BATCHES)
    if order == "random":
        rows = np.random.default_rng(0).permutation(rows)[:READ]
    before, largest = mapped_bytes(), 0

    column = Column(MappedTable(table), "text")
    for count, row in enumerate(rows.tolist()):
        assert int(column[row]) == row
        if count % 1_000 == 0:
            largest = max(largest, mapped_bytes() - before)

    assert largest < 2 * columns.RESIDENT_BYTES


def test_a_table_is_read_where_pages_cannot_be_dropped(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "_madvise", lambda: None)

    column = Column(MappedTable(table), "text")
    assert [int(one) for one in column] == [*range(ROWS * BATCHES)]


def test_rows_are_taken_in_their_order(table: Path) -> None:
    column = Column(MappedTable(table), "text")
    rows = [5, ROWS * BATCHES - 1, 5, ROWS, ROWS - 1, 0]

    assert [int(one) for one in column.take(rows)] == rows
    assert column.take([]) == []
