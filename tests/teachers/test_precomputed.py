from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize("file", ["embeddings.npy", "ids.txt"])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    (write_npy(tmp_path) / file).unlink()

    with pytest.raises(MissingDataError, match=r"embeddings\.npy|ids\.txt"):
        make(tmp_path).embed(["a"])


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"must hold Parquet files or embeddings\.npy"):
        make(tmp_path).embed(["a"])


def test_identity_follows_the_content(tmp_path: Path) -> None:
    before = dict(make(write_npy(tmp_path)).identity)

    np.save(tmp_path / "embeddings.npy", VALUES + 1)

    assert make(tmp_path).identity != before


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", " \n", "\t\n"])
def test_ids_are_compared_as_strings_without_marks_and_blanks(
    tmp_path: Path, mark: str, ends: str
) -> None:
    np.save(tmp_path / "embeddings.npy", VALUES)
    text = mark + ends.join(["7", " 8", "9"]) + ends * 2
    (tmp_path / "ids.txt").write_text(text, encoding="utf-8", newline="")

    assert make(tmp_path).embed(["7", "8", "9", "10"]).present.tolist() == [True] * 3 + [False]


@pytest.mark.parametrize("kind", [np.int64, np.uint8, str, "S1"])
def test_ids_of_any_type_in_parquet_are_strings(tmp_path: Path, kind: type) -> None:
    frame = pd.DataFrame({"id": list(np.arange(3).astype(kind)), "embedding": list(VALUES)})
    frame.to_parquet(tmp_path / "part.parquet")

    assert make(tmp_path).embed(["2", "0"]).values.tolist() == [[4, 5], [0, 1]]


class Bomb:
    """A pickle of this object writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


ODD_ARRAYS: dict[str, Callable[[Path], Any]] = {
    "objects": lambda mark: np.array([[Bomb(mark)] * 2] * 3, dtype=object),
    "strings": lambda _: np.full((3, 2), "1.0"),
    "complex": lambda _: VALUES + 1j,
    "booleans": lambda _: VALUES > 0,
    "flat": lambda _: VALUES.ravel(),
    "cube": lambda _: VALUES[None],
    "wide": lambda _: np.hstack([VALUES, VALUES]),
    "short": lambda _: VALUES[:2],
    "empty": lambda _: VALUES[:0],
    "nan": lambda _: np.where(VALUES == 3, np.nan, VALUES),
    "infinite": lambda _: np.where(VALUES == 3, -np.inf, VALUES),
}


@pytest.mark.parametrize("kind", ODD_ARRAYS)
def test_an_array_of_another_kind_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    write_npy(tmp_path)
    np.save(tmp_path / "embeddings.npy", ODD_ARRAYS[kind](tmp_path / "ran"))

    with pytest.raises((DataError, ShapeError), match=r"embeddings\.npy|black-box"):
        make(tmp_path).embed(["a"])
    assert not (tmp_path / "ran").exists()


ROWS: list[Any] = VALUES.tolist()
ODD_COLUMNS: dict[str, dict[str, list[Any]]] = {
    "no id": {"embedding": ROWS},
    "no embedding": {"id": IDS},
    "other names": {"ID": IDS, "embedding": ROWS},
    "an id is missing": {"id": ["a", None, "c"], "embedding": ROWS},
    "an embedding is missing": {"id": IDS, "embedding": [ROWS[0], None, ROWS[2]]},
    "a number is missing": {"id": IDS, "embedding": [ROWS[0], [None, 1.0], ROWS[2]]},
    "ragged": {"id": IDS, "embedding": [ROWS[0], [1.0], ROWS[2]]},
    "strings": {"id": IDS, "embedding": [["0", "1"]] * 3},
    "numbers": {"id": IDS, "embedding": [1.0, 2.0, 3.0]},
    "nested": {"id": IDS, "embedding": [[row] for row in ROWS]},
    "infinite": {"id": IDS, "embedding": [ROWS[0], [1.0, float("inf")], ROWS[2]]},
    "not UTF-8": {"id": [b"a", b"\xff", b"c"], "embedding": ROWS},
    "no row": {"id": [], "embedding": []},
}


@pytest.mark.parametrize("kind", ODD_COLUMNS)
def test_a_table_of_another_kind_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    pd.DataFrame(ODD_COLUMNS[kind]).to_parquet(tmp_path / "part-0.parquet")

    with pytest.raises((DataError, ShapeError), match=r"part-0\.parquet|black-box"):
        make(tmp_path).embed(["a"])


@pytest.mark.parametrize("file", ["embeddings.npy", "ids.txt", "part-0.parquet"])
@pytest.mark.parametrize("what", ["folder", "empty", "zip", "pickle", "latin-1"])
def test_another_kind_of_file_is_refused_by_name(tmp_path: Path, file: str, what: str) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    (write_parquet if file.endswith(".parquet") else write_npy)(folder)
    path = folder / file
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "zip":
        with path.open("wb") as target:
            np.savez(target, VALUES)
    else:
        other = {
            "empty": b"",
            "pickle": pickle.dumps(Bomb(tmp_path / "ran")),
            "latin-1": "é\nb\nc".encode("latin-1"),
        }
        path.write_bytes(other[what])

    with pytest.raises((DataError, ShapeError)) as refused:
        make(folder).embed(["a"])
    assert file in str(refused.value) or str(folder) in str(refused.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("write", [write_parquet, write_npy])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_gives_finite_rows_or_a_typed_error(write: Any, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name))
        file = data.draw(st.sampled_from(sorted(folder.iterdir())))
        content = bytearray(file.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content = content[:place]
        else:
            content[place] ^= data.draw(st.integers(1, 255))
        file.write_bytes(content)

        with suppress(DataError, ShapeError):
            assert np.isfinite(make(folder).embed(IDS).values).all()
