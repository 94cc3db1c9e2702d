"""Shards that machines exchange at a URL: complete or absent, checked, and clear errors."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pytest

from polydistill.data.ids import pack_ids
from polydistill.embeddings.exchange import Exchange
from polydistill.embeddings.shards import Entry, Plan, Shard, write_shard
from polydistill.errors import StoreError

URL = "memory://bucket/shards"


@pytest.fixture
def shard(tmp_path: Path) -> tuple[Shard, Entry]:
    """A finished shard, which is also at the URL."""
    fsspec.filesystem("memory").store.clear()
    [made] = Plan(pack_ids([f"{row:032x}" for row in range(3)]), {"family": "table"}, 10)
    values, present = np.ones((3, 2), dtype=np.float16), np.array([True, False, True])
    entry = write_shard(tmp_path / "worker", made, values, present)
    assert Exchange(URL).keys() == set()
    Exchange(URL + "/").put(tmp_path / "worker", entry)
    return made, entry


def test_a_shard_is_fetched_with_its_entry(tmp_path: Path, shard: tuple[Shard, Entry]) -> None:
    made, entry = shard

    assert Exchange(URL).keys() == {made.key}
    assert Exchange(URL).fetch(made, tmp_path / "driver") == entry
    for file in (entry.file, entry.file.replace(".arrow", ".json")):
        there, here = (tmp_path / name / file for name in ("worker", "driver"))
        assert there.read_bytes() == here.read_bytes()


def test_a_shard_without_its_note_is_incomplete(shard: tuple[Shard, Entry]) -> None:
    fsspec.filesystem("memory").rm(f"/bucket/shards/{shard[0].key}.json")

    assert Exchange(URL).keys() == set()


@pytest.mark.parametrize("suffix", ["arrow", "json"])
def test_a_damaged_shard_is_named_and_nothing_is_written(
    tmp_path: Path, shard: tuple[Shard, Entry], suffix: str
) -> None:
    fsspec.filesystem("memory").pipe(f"/bucket/shards/{shard[0].key}.{suffix}", b"{}")

    with pytest.raises(StoreError, match=shard[0].key if suffix == "arrow" else "cannot be used"):
        Exchange(URL).fetch(shard[0], tmp_path / "driver")

    assert not (tmp_path / "driver").exists()


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(StoreError, match=r"embed\.exchange: nope://bucket cannot be used"):
        Exchange("nope://bucket")
