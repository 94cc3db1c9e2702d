"""Odd values given to the Python API end in an error of ours, and tables are read by the names of their columns."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import polydistill
from polydistill.errors import PolydistillError

TEXTS = [f"the {a} {b}" for a in ("red", "blue", "old", "new") for b in ("car", "boat", "house")]
TEACHER = {"family": "hashing", "dim": 8}
QUICK: dict[str, Any] = {
    "held_out": 0.3, "settings": {"training": {"epochs": 1}}, "progress": False
}  # fmt: skip


def distil(examples: object, cache: object, teachers: Any = TEACHER, **more: Any) -> Any:
    own: dict[str, Any] = {**QUICK, "cache": cache, **more}
    return polydistill.distill(examples, teachers, "bag-of-bytes", **own)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> polydistill.Student:
    return distil(TEXTS, tmp_path_factory.mktemp("cache"))  # type: ignore[no-any-return]


class Returns:
    """An encoder whose `encode` returns a value made from the number of examples."""

    def __init__(self, make: Callable[[int], object]) -> None:
        self._make = make

    def encode(self, examples: list[Any]) -> Any:
        return self._make(len(examples))


@pytest.mark.parametrize(
    "make",
    [
        lambda n: [["a"]] * n,
        lambda n: [[1.0] * (1 + row % 2) for row in range(n)],
        lambda n: np.zeros((n, 0)),
        lambda n: np.ones((n, 2), dtype=complex),
        lambda n: [None] * n,
        lambda n: {"a": n},
        lambda n: np.full((n, 2), np.nan),
        lambda n: np.ones((n + 1, 2)),
    ],
)
def test_what_an_encoder_may_not_return_is_refused_with_its_name(
    tmp_path: Path, make: Callable[[int], object]
) -> None:
    with pytest.raises(PolydistillError, match="Returns"):
        distil(TEXTS, tmp_path, Returns(make))


@pytest.mark.parametrize("examples", ["", np.array("abc"), "x" * 5000, "a\0b", 5, None, [], b"a"])
def test_odd_examples(tmp_path: Path, examples: object) -> None:
    with pytest.raises(PolydistillError):
        distil(examples, tmp_path)


@pytest.mark.parametrize("teachers", ["", [""], [], [None], 5])
def test_odd_teachers(tmp_path: Path, teachers: object) -> None:
    with pytest.raises(PolydistillError):
        distil(TEXTS, tmp_path, teachers)


@pytest.mark.parametrize("modality", [["text"], 5, "texts"])
def test_odd_modalities(tmp_path: Path, modality: object) -> None:
    with pytest.raises(PolydistillError):
        distil(TEXTS, tmp_path, modality=modality)


@pytest.mark.parametrize("folder", ["file/x", "/proc/no", "x" * 300, "a\0b", "", 5, ["a"]])
def test_a_folder_that_cannot_be_written(
    tmp_path: Path, student: polydistill.Student, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(PolydistillError):
        distil(TEXTS, folder)
    with pytest.raises(PolydistillError):
        student.save(folder)
    with pytest.raises(PolydistillError):
        polydistill.load(folder)

    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("other", ["a", None, 5])
def test_what_is_no_student(student: polydistill.Student, other: Any) -> None:
    tasks = {"t": {"kind": "clustering", "frame": pd.DataFrame({"text": ["a"], "label": ["b"]})}}
    for call in (
        lambda: polydistill.evaluate(other, tasks),
        lambda: polydistill.compare(student, other, tasks),
        lambda: polydistill.compare(other, student, tasks),
        lambda: polydistill.load(other),
    ):
        with pytest.raises(PolydistillError):
            call()


@pytest.mark.parametrize("names", [[0], ["a"], [("a", 1)]])
def test_a_table_whose_only_column_has_any_name(tmp_path: Path, names: list[Any]) -> None:
    frame = pd.DataFrame({"text": TEXTS})
    frame.columns = pd.Index(names, tupleize_cols=False)

    assert distil(frame, tmp_path).encode(["a"]).shape[0] == 1


@pytest.mark.parametrize(
    "names", [["text", "text"], pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])]
)
def test_columns_that_cannot_be_told_apart(
    tmp_path: Path, student: polydistill.Student, names: Any
) -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": TEXTS}).set_axis(names, axis=1)

    with pytest.raises(PolydistillError, match="columns of different names"):
        distil(frame, tmp_path)
    with pytest.raises(PolydistillError, match="Task 't'.*columns of different names"):
        polydistill.evaluate(student, {"t": {"kind": "clustering", "frame": frame}}, progress=False)


@pytest.mark.parametrize(
    ("kind", "changes", "match"),
    [
        ("regression", {"label": "a"}, "finite number, got 'a' in row 1"),
        ("regression", {"label": np.inf}, "finite number, got inf"),
        ("regression", {"label": "1e999"}, "finite number"),
        ("classification", {"label": "a"}, "at least two labels"),
        ("binary-classification", {"label": "a"}, "at least two labels"),
        ("clustering", {"label": "a"}, "at least two labels, got only 'a'"),
        ("classification", {"id": 1}, "the id '1' must be unique, got 12 rows"),
    ],
)
def test_a_task_that_cannot_be_scored_is_named(
    student: polydistill.Student, tmp_path: Path, kind: str, changes: dict[str, Any], match: str
) -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": ["a", "b"] * 6}).assign(**changes)

    with pytest.raises(PolydistillError, match=f"Task 't': .*{match}"):
        polydistill.evaluate(
            student, {"t": {"kind": kind, "frame": frame}}, progress=False, cache=tmp_path
        )


def fifo(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [fifo, loop, Path.mkdir])
@pytest.mark.parametrize("name", ["student.json", "model.safetensors"])
def test_a_file_of_a_bundle_that_is_no_file(
    student: polydistill.Student, tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    folder = student.save(tmp_path / "saved")
    (folder / name).unlink()
    make(folder / name)

    with pytest.raises(PolydistillError, match=name):
        polydistill.load(folder).encode(["a"])


@pytest.mark.parametrize("make", [fifo, loop])
def test_a_corpus_that_is_no_file_is_not_said_to_be_missing(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "a.csv")

    with pytest.raises(PolydistillError, match="no regular file|a link to no file"):
        distil(tmp_path / "a.csv", tmp_path / "cache")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\x1f\x8b\x08\x00", r"end in \.gz"),
        (b"PK\x03\x04\x00", "zip archive: unpack"),
        ("text\na\n".encode("utf-16"), "utf-16"),
        (b"text\n", "At least one example"),
    ],
)
def test_files_of_another_format_are_named(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)

    with pytest.raises(PolydistillError, match=match):
        distil(tmp_path / "a.csv", tmp_path / "cache")


def test_a_damaged_image_of_a_folder_is_named(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")

    with pytest.raises(PolydistillError, match=r"Example 1 \(.*a\.png\)"):
        distil(tmp_path, tmp_path / "cache", {"family": "hog-colour"})


def test_a_cell_that_holds_a_whole_file_is_read(tmp_path: Path) -> None:
    assert distil([*TEXTS, "word " * 400_000], tmp_path).encode(["a"]).shape[0] == 1


@pytest.mark.parametrize("examples", [None, 5, 1.5, object()])
def test_what_cannot_be_encoded_is_named(student: polydistill.Student, examples: Any) -> None:
    with pytest.raises(PolydistillError, match="must be a list of examples, got"):
        student.encode(examples)
