"""Tables as users have them: formats, encodings, compressions, odd cells; and files that are no tables."""

from __future__ import annotations

import gzip
import io
import json
import string
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from polydistill.config.data import CorpusParams, TaskParams
from polydistill.config.nodes import checked_name
from polydistill.config.params import task_params
from polydistill.data.files import READERS, read_lines, read_table
from polydistill.data.inputs import guess_modality
from polydistill.data.intake import Named, take_in
from polydistill.data.modalities import MODALITIES
from polydistill.data.modalities.text import TextModality
from polydistill.data.rules import task_rules
from polydistill.data.tables import complete_task, read_corpus
from polydistill.errors import DataError, ParamsError
from tests.made_images import png
from tests.made_images import written as written_image
from tests.small_data import PandasChecker

TEXT = TextModality()
QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WORDS = ["1", "01", "2", "02", "1.0", "1e3", "None", "NA", "NaN", "null", "nan", "N/A", "-", "true"]
CELLS = st.sampled_from(WORDS) | st.text(
    st.sampled_from(string.ascii_letters + " ,;\t\"'éßÿ\x0c\x85\xa0#"), min_size=1, max_size=8
)
"""Cells of Latin-1 characters, so that every encoding here can write them."""
ENCODINGS = ["utf-8", "utf-8-sig", "latin-1", "utf-16"]
SUFFIXES = [".csv", ".tsv", ".jsonl", ".parquet"]
Frames = st.lists(st.tuples(CELLS, CELLS | st.none()), min_size=1, max_size=6).map(
    lambda rows: pd.DataFrame(rows, columns=["text", "label"], dtype=object)
)


def written(frame: pd.DataFrame, suffix: str, encoding: str) -> bytes:
    """Return the content of a table's file."""
    if suffix == ".parquet":
        return bytes(frame.astype("str").to_parquet())
    if suffix == ".jsonl":
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        return lines.encode(encoding)
    return frame.to_csv(index=False, sep="\t" if suffix == ".tsv" else ",").encode(encoding)


def cells(frame: pd.DataFrame) -> list[tuple[object, ...]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return list(plain.itertuples(index=False, name=None))


@QUICK
@given(
    frame=Frames,
    suffix=st.sampled_from(SUFFIXES),
    encoding=st.sampled_from(ENCODINGS),
    upper=st.booleans(),
    compressed=st.booleans(),
)
def test_each_format_gives_the_cells_that_were_written(
    tmp_path: Path,
    *,
    frame: pd.DataFrame,
    suffix: str,
    encoding: str,
    upper: bool,
    compressed: bool,
) -> None:
    content = written(frame, suffix, encoding)
    name = f"rows{suffix}{'.gz' if compressed else ''}"
    path = tmp_path / (name.upper() if upper else name)
    path.write_bytes(gzip.compress(content) if compressed else content)

    found = read_table(path, "utf-8" if encoding == "utf-8-sig" else encoding)

    assert cells(found) == cells(frame)


@QUICK
@given(labels=st.lists(CELLS, min_size=1, max_size=8), as_bytes=st.booleans())
def test_labels_ids_and_groups_are_strings(
    tmp_path: Path, *, labels: list[str], as_bytes: bool
) -> None:
    column = [label.encode() for label in labels] if as_bytes else labels
    rows = len(labels)
    path = tmp_path / "task.parquet"
    pd.DataFrame(
        {"id": range(rows), "text": [f"text {n}" for n in range(rows)], "label": column}
    ).assign(group=column, split="train").to_parquet(path)
    task = TaskParams(kind="classification", path=str(path), domain="out")

    frame, dropped = complete_task(read_table(path), task, TEXT)

    assert dropped == {}
    assert frame["id"].tolist() == [str(row) for row in range(rows)]
    assert frame["label"].tolist() == frame["group"].tolist() == labels


@QUICK
@given(
    ids=st.lists(st.integers() | st.text(string.ascii_letters, max_size=5), min_size=2, unique=True)
)
def test_a_corpus_may_have_ids_of_its_own(tmp_path: Path, ids: list[object]) -> None:
    texts = [f"a text of number {n}" for n in range(len(ids))]
    frame = pd.DataFrame({"id": [str(one) for one in ids], "text": texts})
    frame.loc[0, "id"] = TEXT.content_id(texts[0])  # by chance, or from an earlier version
    if len(ids) == 2:
        frame.loc[0, "id"] = "doc-0"
    frame.to_parquet(tmp_path / "corpus.parquet")

    read = read_corpus(tmp_path, CorpusParams(path="corpus.parquet"), TEXT)

    assert read["id"].tolist() == [TEXT.content_id(text) for text in texts]


@QUICK
@given(
    lines=st.lists(st.text(st.sampled_from("ab \u2028\u2029\x0b\x0c\x85\x1c\x1d\r")), min_size=1)
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_lines_end_at_line_feeds_only(tmp_path: Path, lines: list[str], ends: str) -> None:
    expected = [line.rstrip("\r") + "." for line in lines]
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + ends.join([*expected, ""]).encode())

    assert read_lines(tmp_path / "a.txt") == expected
    assert read_table(tmp_path / "a.txt")["text"].tolist() == expected


@QUICK
@given(
    suffix=st.sampled_from([*READERS, ".csv.gz", ".parquet.gz"]),
    content=st.binary(max_size=60)
    | st.just(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
    cut=st.integers(0, 400),
    flip=st.integers(0, 2**12),
    is_made=st.booleans(),
)
def test_a_damaged_file_is_read_or_refused_by_name(
    tmp_path: Path, *, suffix: str, content: bytes, cut: int, flip: int, is_made: bool
) -> None:
    if is_made:
        table = pd.DataFrame({"text": ["é", "b"], "label": ["1", None]}, dtype="str")
        whole = bytearray(written(table, suffix.removesuffix(".gz"), "utf-8"))
        whole[flip % len(whole)] ^= 1 << flip % 8
        content = bytes(whole[: len(whole) - cut])
    path = tmp_path / f"table{suffix}"
    path.write_bytes(content)

    message = str(path)
    try:
        read_table(path)
    except DataError as error:
        message = str(error)

    assert str(path) in message
    assert len(message) < 1000


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".txt"])
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16"])
def test_another_encoding_is_named_with_byte_line_and_setting(
    tmp_path: Path, suffix: str, encoding: str
) -> None:
    table = pd.DataFrame({"text": ["plain", "café"]})
    path = tmp_path / f"table{suffix}"
    path.write_bytes(written(table, suffix, encoding))

    with pytest.raises(DataError, match=r"line [123]: byte 0x(e9|ff) is not utf-8 .*`encoding`"):
        read_table(path)

    assert not read_table(path, encoding).empty


def test_cells_beyond_the_header_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nhello, you,1\nhello, me,2\n")

    with pytest.raises(DataError, match="got more: put cells that contain ',' in double quotes"):
        read_table(tmp_path / "a.csv")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    for suffix in READERS:
        (tmp_path / f"folder{suffix}" / f"inner{suffix}").mkdir(parents=True)

        with pytest.raises(DataError, match="must hold"):
            read_table(tmp_path / f"folder{suffix}")


def test_text_that_is_not_utf_8_is_refused_with_its_row(tmp_path: Path) -> None:
    pd.DataFrame({"text": [b"one", b"caf\xe9"]}).to_parquet(tmp_path / "own.parquet")

    with pytest.raises(DataError, match=r"own.parquet, column 'text', row 2: .* byte 0xe9"):
        read_corpus(tmp_path, CorpusParams(path="own.parquet"), TEXT)


@pytest.mark.parametrize(
    "name", ["a/b", "", "..", "../up", "x" * 300, "<script>", "a b", "-a", "ü", "a\n", None, 3]
)
def test_a_task_has_a_name_that_can_name_a_file(name: str) -> None:
    with pytest.raises(
        ParamsError, match="name of a task or teacher must be 1 to 64 letters"
    ) as caught:
        task_params(name, {"kind": "sts"})

    assert len(str(caught.value)) < 300


@QUICK
@given(label=st.text(min_size=1, max_size=100).filter(lambda name: name not in {"text", "id"}))
def test_a_new_project_gives_its_task_such_a_name(label: str) -> None:
    texts = [f"{chr(97 + row) * 9} is a word" for row in range(4)]
    task = pd.DataFrame({"text": texts, label: ["a", "b", "a", "b"]})
    corpus = pd.DataFrame({"text": ["another text of the corpus"]})

    intake = take_in(corpus, task, TEXT, Named(label=label))

    assert intake.task is not None
    assert checked_name(intake.task.name) == intake.task.name


def test_binary_texts_are_no_images() -> None:
    assert guess_modality(pd.DataFrame({"text": [b"a text"]})) == "text"
    assert guess_modality(pd.DataFrame({"image": [png(1)]})) == "vision"
    assert guess_modality(pd.DataFrame({"photo": [png(1)]})) == "vision"


def two_pngs() -> tuple[bytes, bytes]:
    first = png(1)
    return first, written_image(Image.open(io.BytesIO(first)), compress_level=0)


SAME: dict[str, Callable[[], tuple[str | bytes, str | bytes]]] = {
    "text": lambda: ("café", "cafe\u0301 "),
    "molecules": lambda: ("CCO", "OCC"),
    "vision": two_pngs,
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize(
    ("labels", "splits", "because"),
    [
        (["a", "b"], ["train", "train"], "the same input has contradictory labels"),
        (["a", "a"], ["train", "test"], "an example occurs twice"),
    ],
)
def test_an_input_written_differently_is_the_same_input(
    name: str, labels: list[str], splits: list[str], because: str
) -> None:
    kind = MODALITIES.get(name)()
    one, other = SAME[name]()
    assert one != other
    frame = pd.DataFrame({"id": ["1", "2"], kind.column: [one, other], "label": labels})
    task = TaskParams(kind="classification", path="task", domain="out")

    table, _ = complete_task(frame.assign(split=splits, group=["g", "h"]), task, kind)
    results = PandasChecker().check([("task", task_rules(table, task, kind, ()))])[0]

    assert because in {result.because for result in results if not result.success}


TASKS_WITHOUT_SCORES = [
    ("classification", ["a", "b", "a", "b"], ["train"] * 4, "no train rows or no test rows"),
    ("regression", [1, 2, 3, 4], ["test"] * 4, "no train rows or no test rows"),
    ("regression", [1, 2, 3, 3], ["train"] * 2 + ["test"] * 2, "are all equal"),
    ("binary-classification", list("abaa"), ["train"] * 2 + ["test"] * 2, "two labels, each"),
    ("binary-classification", list("abcabc"), ["train"] * 3 + ["test"] * 3, "two labels, each"),
]


@pytest.mark.parametrize(("kind", "labels", "splits", "because"), TASKS_WITHOUT_SCORES)
def test_a_task_that_cannot_be_scored_is_found_by_validation(
    kind: str, labels: list[object], splits: list[str], because: str
) -> None:
    texts = [f"{chr(97 + row) * 9} is a word" for row in range(len(labels))]
    frame = pd.DataFrame({"text": texts, "label": labels, "split": splits})
    task = TaskParams.model_validate({"kind": kind, "path": "task", "domain": "out"})

    table, _ = complete_task(frame, task, TEXT)
    results = PandasChecker().check([("task", task_rules(table, task, TEXT, ()))])[0]

    assert because in " ".join(result.because for result in results if not result.success)


def test_the_labels_of_all_pairs_are_scored_if_the_table_has_a_split() -> None:
    ends = {f"text{side}": [f"{name} {side}" for name in ("sun", "moon", "star")] for side in "12"}
    frame = pd.DataFrame({**ends, "label": [1.0, 2.0, 3.0], "split": ["train", "train", "dev"]})
    task = TaskParams(kind="sts", path="task", domain="out")

    table, _ = complete_task(frame, task, TEXT)
    results = PandasChecker().check([("task", task_rules(table, task, TEXT, ()))])[0]

    assert [result.because for result in results if not result.success] == []


@pytest.mark.parametrize(
    "text",
    [
        "\u3000日本語\u3000の文",
        "می\u200cخواهم",  # noqa: RUF001
        "👩\u200d👩\u200d👧",
        "\u200fשלום\u200e",  # noqa: RUF001
        "x\u00a0y\u2028z",
    ],
)
def test_the_invisible_marks_of_a_script_are_printable(text: str) -> None:
    assert TEXT.derived([[text]])["printable_ratio"] == [1.0]


@pytest.mark.parametrize("text", ["\x00", "\ufffd", "\ue000", "\U0010ffff", chr(0xD800), "\x1b"])
def test_control_private_and_unassigned_characters_are_not(text: str) -> None:
    assert TEXT.derived([[text]])["printable_ratio"] == [0.0]


@pytest.mark.parametrize(("one", "other"), [("कि", "का"), ("กิน", "กัน"), ("மழை", "மழி")])
def test_words_that_differ_in_combining_marks_differ(one: str, other: str) -> None:
    assert TEXT.near_key(one) != TEXT.near_key(other)
    assert TEXT.near_key(f"{one}, {other}!") == f"{one} {other}"
