from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polydistill.errors import DataError, MissingDataError, ShapeError
from polydistill.teachers.precomputed import PrecomputedTeacher

IDS = ["a", "b", "c"]
VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)


def write_parquet(folder: Path, ids: list[str] = IDS) -> Path:
    frame = pd.DataFrame({"id": ids, "embedding": list(VALUES[: len(ids)])})
    frame.head(2).to_parquet(folder / "part-0.parquet")
    frame.tail(-2).to_parquet(folder / "part-1.parquet")
    return folder


def write_npy(folder: Path) -> Path:
    np.save(folder / "embeddings.npy", VALUES)
    (folder / "ids.txt").write_text("\n".join(IDS) + "\n")
    return folder


def make(folder: Path, dim: int = 2) -> PrecomputedTeacher:
    return PrecomputedTeacher("black-box", 1, folder=str(folder), dim=dim)


@pytest.mark.parametrize("write", [write_parquet, write_npy])
def test_rows_are_found_by_id_and_others_are_missing(write: object, tmp_path: Path) -> None:
    assert callable(write)

    found = make(write(tmp_path)).embed(["c", "unknown", "a"])

    assert found.values.tolist() == [[4, 5], [0, 0], [0, 1]]
    assert found.present.tolist() == [True, False, True]


def test_an_id_that_stands_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="id 'a' occurs twice"):
        make(write_parquet(tmp_path, ["a", "b", "a"])).embed(["a"])


@pytest.mark.parametrize("write", [write_parquet, write_npy])
def test_another_width_is_refused(write: object, tmp_path: Path) -> None:
    assert callable(write)

    with pytest.raises(ShapeError, match="3"):
        make(write(tmp_path), dim=3).embed(["a"])


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"must hold Parquet files or embeddings\.npy"):
        make(tmp_path).embed(["a"])


def test_identity_follows_the_content(tmp_path: Path) -> None:
    before = dict(make(write_npy(tmp_path)).identity)

    np.save(tmp_path / "embeddings.npy", VALUES + 1)

    assert make(tmp_path).identity != before
