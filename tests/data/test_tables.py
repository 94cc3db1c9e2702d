from __future__ import annotations

from pathlib import Path

import pytest

from polydistill.data.files import read_lines
from polydistill.data.modalities.text import TextModality
from polydistill.data.tables import read_examples
from polydistill.errors import DataError, MissingDataError


def test_lines_are_read_in_order_and_an_empty_one_is_an_example(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("one\n\nπ 漢字\n", encoding="utf-8")

    assert read_lines(file) == ["one", "", "π 漢字"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty. Expected one example per line"),
        (b"\xd0\xff\x00", "line 1: byte 0xd0 is not utf-8 text"),
    ],
    ids=["empty", "binary"],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes(content)

    with pytest.raises(DataError, match=message):
        read_lines(file)


def test_a_line_that_the_modality_refuses_is_named(tmp_path: Path) -> None:
    class Numbers(TextModality):
        def coerce(self, value: object) -> str:
            if not str(value).isdigit():
                raise DataError(f"A number must have digits, got {value!r}.")
            return f"{int(str(value)):03}"

    file = tmp_path / "numbers.txt"
    file.write_text("1\n22\n", encoding="utf-8")
    assert read_examples(file, Numbers()) == ["001", "022"]
    file.write_text("1\ntwo\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"numbers.txt, line 2: A number must have digits"):
        read_examples(file, Numbers())


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="Pass a text file"):
        read_lines(tmp_path)
