from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from polydistill.data import files
from polydistill.data.files import count_rows, read_chunks, read_table
from polydistill.errors import DataError, MissingDataError
from tests.made_images import png

ROWS = [("01", 'a "quoted", text\nof two lines', "5"), ("02", "NA", "null"), ("03", None, None)]


def records(frame: pd.DataFrame) -> list[tuple[object, ...]]:
    rows = frame.astype(object).where(frame.notna(), None)
    return list(rows.itertuples(index=False, name=None))


@pytest.mark.parametrize(("suffix", "mark"), [("csv", ","), ("tsv", "\t"), ("csv", ";")])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_texts_of_a_file_are_unchanged(tmp_path: Path, suffix: str, mark: str, ends: str) -> None:
    text = pd.DataFrame(ROWS, columns=["code", "text", "stars"]).to_csv(
        index=False, sep=mark, lineterminator=ends
    )
    (tmp_path / f"reviews.{suffix}").write_bytes(b"\xef\xbb\xbf" + text.encode())

    frame = read_table(tmp_path / f"reviews.{suffix}")

    assert list(frame.columns) == ["code", "text", "stars"]
    assert records(frame) == ROWS


def test_json_lines_keep_their_types(tmp_path: Path) -> None:
    rows = [{"text": "01", "label": 4}, {"text": "2026-01-31", "label": None}]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    assert records(read_table(tmp_path / "rows.jsonl")) == [("01", 4), ("2026-01-31", None)]


def test_a_text_file_has_one_example_per_line(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_bytes("one\r\ntwo\u2028still two\r\n".encode())

    assert records(read_table(tmp_path / "texts.txt")) == [("one",), ("two\u2028still two",)]


@pytest.mark.parametrize("path", ["parts", "parts/*.csv", "par*/[ab].csv"])
def test_a_folder_or_a_glob_is_one_table_in_the_order_of_file_names(
    tmp_path: Path, path: str
) -> None:
    (tmp_path / "parts").mkdir()
    for name in ("b", "a"):
        (tmp_path / "parts" / f"{name}.csv").write_text(f"text\nof {name}\n")

    frame = read_table(tmp_path / path)

    assert records(frame) == [("of a",), ("of b",)]
    assert list(frame.index) == [0, 1]


def test_the_subfolders_of_an_image_folder_are_labels(tmp_path: Path) -> None:
    for name in ("cats/one.png", "dogs/two.PNG"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(png(len(name)))

    frame = read_table(tmp_path)

    assert frame["label"].tolist() == ["cats", "dogs"]
    assert frame["name"].tolist() == ["cats/one.png", "dogs/two.PNG"]
    assert frame["image"][0] == png(len("cats/one.png"))
    assert "label" not in read_table(tmp_path / "cats")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"text\ncaf\xe9\n", "line 2: byte 0xe9 is not utf-8 text"),
        ("a.csv", b'text\n"open\n', "cannot be read"),
        ("a.jsonl", b'{"text": "a"}\nnone\n', "line 2, must be a JSON object, got 'none'"),
        ("a.jsonl", b'["a"]\n', "line 1, must be a JSON object"),
        ("a.xlsx", b"", r"must end in \.parquet, \.csv"),
        ("a.parquet", b"no table", "cannot be read"),
    ],
)
def test_a_file_that_is_not_a_table_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=message):
        read_table(tmp_path / name)


def test_files_of_one_table_must_have_the_same_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\none\n")
    (tmp_path / "b.csv").write_text("words\none\n")

    with pytest.raises(
        DataError, match=r"b\.csv must have the columns of .*a\.csv: text; got words"
    ):
        read_table(tmp_path)


def test_a_pattern_without_a_match_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="No file"):
        read_table(tmp_path / "*.csv")


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_parts_have_the_rows_of_the_whole_table(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_ROWS", 3)
    frame = pd.DataFrame({"text": [f"text {row}" for row in range(10)], "more": "x"})
    for number, part in enumerate((frame.head(4), frame.iloc[4:4], frame.tail(6))):
        path = tmp_path / f"{number}.{suffix}"
        if suffix == "parquet":
            part.to_parquet(path, index=False)
        elif len(part):
            part.to_csv(path, index=False) if suffix == "csv" else part.to_json(
                path, orient="records", lines=True
            )

    parts = [*read_chunks(tmp_path, columns=["text", "id"])]

    whole = pd.concat(parts)
    assert whole["text"].tolist() == read_table(tmp_path)["text"].tolist() == frame["text"].tolist()
    assert whole.index.tolist() == [*range(10)]
    assert count_rows(tmp_path) == 10
    if suffix == "parquet":
        assert [len(part) for part in parts] == [3, 1, 0, 3, 3]
        assert list(whole) == ["text"]
    assert list(next(read_chunks(tmp_path, columns=["body", "id"]))) == ["text", "more"]


def test_a_part_of_a_wide_parquet_file_has_few_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 1_000)
    rows = [bytes([row]) * 400 for row in range(10)]
    pd.DataFrame({"image": rows}).to_parquet(tmp_path / "a.parquet", compression=None)

    parts = [*read_chunks(tmp_path / "a.parquet")]

    assert max(map(len, parts)) <= 4
    assert pd.concat(parts)["image"].tolist() == rows


@pytest.mark.parametrize("content", [b"", b"PAR1 not really", b"\x00" * 64])
def test_a_damaged_part_is_named(tmp_path: Path, content: bytes) -> None:
    pd.DataFrame({"text": ["a"]}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(content)

    for read in (lambda: [*read_chunks(tmp_path)], lambda: count_rows(tmp_path)):
        with pytest.raises(DataError, match=r"b.parquet (is empty|cannot be read)"):
            read()


def test_files_of_different_columns_are_no_table(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["a"]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"body": ["a"]}).to_parquet(tmp_path / "b.parquet")

    with pytest.raises(DataError, match=r"b.parquet must have the columns of .*a.parquet: text"):
        [*read_chunks(tmp_path)]
