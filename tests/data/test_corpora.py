"""The canonical corpus: equal to the table in memory, whatever the parts in which it is read."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydistill.config.data import CorpusParams
from polydistill.data import files, groups, preparation
from polydistill.data.columns import Column, MappedTable, TableWriter
from polydistill.data.corpora import StoredCorpus, open_corpus
from polydistill.data.groups import groups_of
from polydistill.data.ids import unpack_ids
from polydistill.data.modalities.text import TextModality
from polydistill.data.modalities.vision import VisionModality
from polydistill.data.near_duplicates import KeySearch
from polydistill.data.preparation import prepare_corpus
from polydistill.data.tables import corpus_table
from polydistill.errors import DataError, StageError
from polydistill.project.checksums import Checksums
from tests.made_images import png

TEXT = TextModality()
WORDS = st.sampled_from(["a cat", "A  cat.", "two dogs", "", " ", "caf\u00e9", "cafe\u0301", "01"])


def prepare(
    root: Path, params: CorpusParams, modality: Any = TEXT, checksums: Checksums | None = None
) -> tuple[StoredCorpus, dict[str, int]]:
    with prepare_corpus(root, params, modality, root / "work") as made:
        dropped = made.dropped
        made.publish(root / "corpus", params)
    assert not (root / "work").exists()
    return open_corpus(root / "corpus", params, modality, checksums), dropped


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read and write a few rows at a time."""
    monkeypatch.setattr(files, "CHUNK_ROWS", 3)
    monkeypatch.setattr(preparation, "WRITTEN_ROWS", 2)
    monkeypatch.setattr(preparation, "CHECKED_ROWS", 4)


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(WORDS | st.none(), min_size=1, max_size=20),
    parts=st.integers(1, 3),
    own_ids=st.booleans(),
    rows=st.integers(1, 4) | st.none(),
)
def test_the_corpus_is_that_of_the_table_in_memory(
    texts: list[str | None], parts: int, *, own_ids: bool, rows: int | None
) -> None:
    frame = pd.DataFrame({"text": pd.Series(texts, dtype="str")})
    if own_ids:
        frame["id"] = [f"row {number // 2}" for number in range(len(texts))]
    params = CorpusParams(path="data/*.parquet", rows=rows)
    expected, expected_dropped = corpus_table(frame, params, TEXT)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_ROWS", 3)
        patch.setattr(preparation, "WRITTEN_ROWS", 2)
        root = Path(folder)
        (root / "data").mkdir()
        for number, part in enumerate(np.array_split(np.arange(len(texts)), parts)):
            frame.iloc[part].to_parquet(root / f"data/{number}.parquet", index=False)
        if len(expected) < (rows or 1):
            with pytest.raises(DataError, match="usable rows, got"):
                prepare(root, params)
            return
        stored, dropped = prepare(root, params)

        used = expected.head(len(expected) if rows is None else rows)
        assert unpack_ids(stored.ids[:]) == used["id"].tolist()
        assert [*stored.examples] == used["text"].tolist()
        assert [*stored.groups] == groups_of(used["text"].tolist(), TEXT)
        assert dropped == expected_dropped
        if own_ids and stored.own_ids is not None:
            assert [*stored.own_ids] == [[*own] for own in used["own_ids"]]


@pytest.mark.usefixtures("small_parts")
def test_a_corpus_with_content_ids_keeps_every_row_and_its_groups(tmp_path: Path) -> None:
    texts = [f"text number {row}" for row in range(9)]
    ids = [TEXT.content_id(text) for text in texts]
    frame = pd.DataFrame({"id": ids, "text": texts, "group": range(9)})
    frame = pd.concat([frame, frame.head(2)], ignore_index=True)
    frame.to_parquet(tmp_path / "corpus.parquet")
    params = CorpusParams(path="corpus.parquet")

    with prepare_corpus(tmp_path, params, TEXT, tmp_path / "work") as made:
        parts = [*made.frames("text")]

    whole = pd.concat(parts)
    assert [len(part) for part in parts] == [4, 4, 3]
    assert whole.index.tolist() == [*range(11)]
    assert whole["id"].tolist() == frame["id"].tolist()
    assert whole["group"].tolist() == [str(group) for group in frame["group"]]
    assert whole["n_same_example"].tolist() == [2, 2, 1, 1, 1, 1, 1, 1, 1, 2, 2]


@pytest.mark.usefixtures("small_parts")
def test_wrong_and_missing_cells_of_a_corpus_with_ids_are_left_to_the_rules(tmp_path: Path) -> None:
    texts: list[str | None] = [f"text number {row}" for row in range(8)]
    ids: list[str | None] = [TEXT.content_id(str(text)) for text in texts]
    texts[1], ids[5] = None, None
    pd.DataFrame({"id": ids, "text": texts}).to_parquet(tmp_path / "corpus.parquet")

    params = CorpusParams(path="corpus.parquet")
    with prepare_corpus(tmp_path, params, TEXT, tmp_path / "work") as made:
        whole = pd.concat([*made.frames("text")])

    assert whole["id"].isna().tolist() == [row == 5 for row in range(8)]
    assert whole["text"].isna().tolist() == [row == 1 for row in range(8)]


def test_images_are_stored_as_they_are(tmp_path: Path) -> None:
    images = [png(9 * row) for row in range(5)]
    pd.DataFrame({"image": images}).to_parquet(tmp_path / "corpus.parquet")

    stored, _ = prepare(tmp_path, CorpusParams(path="corpus.parquet"), VisionModality())

    assert [*stored.examples] == images
    assert stored.examples[-1] == images[-1]
    assert stored.examples[1:3] == images[1:3]
    assert stored.examples[::2] == images[::2]


def test_a_value_that_is_no_example_is_named(tmp_path: Path) -> None:
    lines = ['{"text": "one", "id": 1}', '{"text": ["two"], "id": 2}']
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))

    with pytest.raises(DataError, match=r"corpus.jsonl, column 'text', row 2: A text must be"):
        prepare(tmp_path, CorpusParams(path="corpus.jsonl"))

    assert not (tmp_path / "work").exists()


def test_unfinished_work_of_a_killed_run_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "rows.arrow").write_bytes(b"half of a file")
    pd.DataFrame({"text": ["one", "two"]}).to_parquet(tmp_path / "corpus.parquet")

    stored, _ = prepare(tmp_path, CorpusParams(path="corpus.parquet"))

    assert [*stored.examples] == ["one", "two"]


def test_the_same_corpus_gives_the_same_bytes(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["one", "two"]}).to_parquet(tmp_path / "corpus.parquet")
    params, made = CorpusParams(path="corpus.parquet"), []
    for _ in range(2):
        prepare(tmp_path, params)
        made.append({p.name: p.read_bytes() for p in (tmp_path / "corpus").iterdir()})

    assert made[0] == made[1]
    assert set(made[0]) == {"corpus.arrow", "corpus.json"}


def test_a_damaged_file_is_found_although_it_was_checked_before(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["one", "two"]}).to_parquet(tmp_path / "corpus.parquet")
    params, note = CorpusParams(path="corpus.parquet"), tmp_path / "note.json"
    prepare(tmp_path, params, checksums=Checksums(note))
    file = tmp_path / "corpus" / "corpus.arrow"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)

    with pytest.raises(StageError, match=r"corpus.arrow is damaged: run `polydistill validate"):
        open_corpus(tmp_path / "corpus", params, TEXT, Checksums(note))


def test_the_share_that_is_held_out_is_no_setting_of_the_rows(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["one", "two"]}).to_parquet(tmp_path / "corpus.parquet")
    prepare(tmp_path, CorpusParams(path="corpus.parquet"))
    other = CorpusParams(path="corpus.parquet", held_out=0.5)

    assert len(open_corpus(tmp_path / "corpus", other, TEXT)) == 2


@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5), data=st.data())
def test_a_column_reads_like_a_list(lengths: list[int], data: st.DataObject) -> None:
    import pyarrow as pa

    values = [*range(sum(lengths))]
    with tempfile.TemporaryDirectory() as folder:
        start = 0
        with TableWriter(Path(folder) / "t.arrow") as writer:
            for length in lengths:
                writer.write({"n": pa.array(values[start : start + length], pa.int64())})
                start += length
        column = Column(MappedTable(Path(folder) / "t.arrow"), "n")

        rows = data.draw(st.slices(len(values))) if values else slice(None)
        assert column[rows] == values[rows]
        assert [*column] == values
        for row in range(-len(values), len(values)):
            assert column[row] == values[row]
        with pytest.raises(IndexError):
            column[len(values)]


def test_groups_of_many_rows_are_those_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(300)])
    texts = [" ".join(draw.choice(words, 12)) for _ in range(400)]
    texts += [f"{text} more" for text in texts[:150]] + [text.upper() for text in texts[100:200]]
    texts += [f"{text} and quite different words at the end" for text in texts[300:350]]
    exact = groups_of(texts, TEXT)
    assert 1 < len(set(exact)) < 500

    monkeypatch.setattr(groups, "EXACT_ROWS", 100)

    assert groups_of(texts, TEXT) == exact


def test_rows_that_are_nearly_all_alike_are_one_group_in_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(KeySearch, "pairs", lambda _: pytest.fail("all pairs were compared"))
    texts = [f"order {row} was sent to the customer in time, thank you" for row in range(20_000)]

    assert len(set(groups_of([*texts, "something else entirely"], TEXT))) == 2


def test_a_chain_of_near_duplicates_in_one_bucket_is_one_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "a sentence with a few words that is repeated with one more letter each time"
    texts = [text + "x" * number for number in range(40)] + ["something else entirely"]
    exact = groups_of(texts, TEXT)

    monkeypatch.setattr(groups, "EXACT_ROWS", 0)

    assert groups_of(texts, TEXT) == exact
