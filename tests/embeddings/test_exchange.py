"""Shards that machines exchange at a URL: complete or absent, checked, and clear errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from polydistill.data.ids import pack_ids
from polydistill.embeddings.exchange import Exchange
from polydistill.embeddings.shards import Entry, Plan, Shard, write_shard
from polydistill.errors import InfrastructureError, ParamsError


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder of an object store, or of a file system."""
    fsspec.filesystem("memory").store.clear()
    return "memory://bucket/shards" if request.param == "memory" else f"file://{tmp_path}/shards"


@pytest.fixture
def shard(tmp_path: Path, url: str) -> tuple[Shard, Entry]:
    """A finished shard, which is also at the URL."""
    [made] = Plan(pack_ids([f"{row:032x}" for row in range(3)]), {"family": "table"}, 10)
    values, present = np.ones((3, 2), dtype=np.float16), np.array([True, False, True])
    entry = write_shard(tmp_path / "worker", made, values, present)
    assert Exchange(url).keys() == set()
    Exchange(url + "/").put(tmp_path / "worker", entry)
    return made, entry


def files(url: str) -> tuple[Any, list[str]]:
    system, root = fsspec.url_to_fs(url)
    return system, sorted(system.ls(root, detail=False))


def test_a_shard_is_fetched_with_its_entry(
    tmp_path: Path, url: str, shard: tuple[Shard, Entry]
) -> None:
    made, entry = shard

    assert Exchange(url).keys() == {made.key}
    assert Exchange(url).fetch(made, tmp_path / "driver") == entry
    for file in (entry.file, entry.file.replace(".arrow", ".json")):
        there, here = (tmp_path / name / file for name in ("worker", "driver"))
        assert there.read_bytes() == here.read_bytes()


def test_a_shard_without_its_note_is_incomplete(url: str, shard: tuple[Shard, Entry]) -> None:
    system, paths = files(url)
    system.rm([path for path in paths if path.endswith(".json")])

    assert Exchange(url).keys() == set()


DAMAGES: dict[str, Callable[[Any, str], None]] = {
    "empty": lambda system, path: system.pipe(path, b""),
    "another": lambda system, path: system.pipe(path, b"{}"),
    "gone": lambda system, path: system.rm(path),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", [".arrow", ".json"])
def test_a_damaged_shard_is_missing_and_can_be_put_again(
    tmp_path: Path, url: str, shard: tuple[Shard, Entry], suffix: str, damage: str
) -> None:
    system, paths = files(url)
    DAMAGES[damage](system, next(path for path in paths if path.endswith(suffix)))

    assert Exchange(url).fetch(shard[0], tmp_path / "driver") is None
    assert not (tmp_path / "driver").exists()

    Exchange(url).put(tmp_path / "worker", shard[1])
    assert Exchange(url).fetch(shard[0], tmp_path / "driver") == shard[1]


def test_two_machines_that_round_differently_do_not_mix_their_files(
    tmp_path: Path, url: str, shard: tuple[Shard, Entry]
) -> None:
    values = np.full((3, 2), 2, dtype=np.float16)
    other = write_shard(tmp_path / "other", shard[0], values, np.ones(3, dtype=np.bool_))

    Exchange(url).put(tmp_path / "other", other)

    assert Exchange(url).fetch(shard[0], tmp_path / "driver") == other


def test_an_unknown_protocol_and_a_folder_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"embed\.exchange: nope://bucket cannot be used"):
        Exchange("nope://bucket")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InfrastructureError, match=r"embed\.exchange: file://.* cannot be used"):
        Exchange(f"file://{tmp_path}/file/shards").keys()
