"""Tables at URLs, in fsspec's file system in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest

from polydistill.config.data import CorpusParams
from polydistill.config.params import parse_params
from polydistill.data.corpora import open_corpus
from polydistill.data.files import count_rows, located, read_chunks, read_table
from polydistill.data.modalities.text import TextModality
from polydistill.data.preparation import prepare_corpus
from polydistill.errors import DataError, MissingDataError, ParamsError
from tests.our_params import text_params

TEXTS = [f"text number {row}" for row in range(10)]


@pytest.fixture
def store() -> Any:
    """Put ten texts in two Parquet files and a compressed CSV file beside them, and something that is no table."""
    files = fsspec.filesystem("memory")
    for number, part in enumerate((TEXTS[:4], TEXTS[4:])):
        with files.open(f"/bucket/corpus/{number}.parquet", "wb") as file:
            pd.DataFrame({"text": part, "more": 1}).to_parquet(file)
    frame = pd.DataFrame({"text": TEXTS})
    with files.open("/bucket/one/all.csv.gz", "wb") as file:
        frame.to_csv(file, index=False, compression="gzip")
    files.pipe("/bucket/corpus/_SUCCESS", b"")
    yield files
    files.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    "url",
    [
        "memory://bucket/corpus",
        "memory://bucket/corpus/*.parquet",
        "memory://bucket/*/?.parquet",
        "memory://bucket/one/all.csv.gz",
    ],
)
@pytest.mark.usefixtures("store")
def test_a_url_is_read_like_a_path(tmp_path: Path, url: str) -> None:
    params, kind = CorpusParams(path=url), TextModality()

    with prepare_corpus(tmp_path, params, kind, tmp_path / "work") as corpus:
        corpus.publish(tmp_path / "corpus", params)

    assert [*open_corpus(tmp_path / "corpus", params, kind).examples] == TEXTS
    source = located(tmp_path, url)
    assert count_rows(source) == 10
    assert read_table(source)["text"].tolist() == TEXTS
    assert pd.concat(read_chunks(source, columns=["text"]))["text"].tolist() == TEXTS


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("memory://bucket/nothing", MissingDataError, "No file memory://bucket/nothing: correct"),
        ("memory://bucket/corpus/*.csv", MissingDataError, "No file memory://bucket/corpus/"),
        ("memory://bucket/corpus/_SUCCESS", DataError, r"corpus/_SUCCESS must end in .parquet"),
        (
            "nosuch://bucket/a.parquet",
            DataError,
            r"nosuch://bucket/a.parquet cannot be read: .*nosuch",
        ),
    ],
)
@pytest.mark.usefixtures("store")
def test_a_url_without_a_table_is_named(
    tmp_path: Path, url: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        next(read_chunks(located(tmp_path, url)))


def test_a_damaged_file_is_named(store: Any, tmp_path: Path) -> None:
    store.pipe("/bucket/corpus/1.parquet", b"PAR1 not really")

    with pytest.raises(DataError, match=r"memory://bucket/corpus/1.parquet cannot be read"):
        [*read_chunks(located(tmp_path, "memory://bucket/corpus"))]


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/a.parquet", "https://user@host/a.csv"])
def test_credentials_in_a_url_are_refused_and_not_shown(url: str) -> None:
    tree = text_params()
    tree["text"]["corpus"]["path"] = url

    with pytest.raises(
        ParamsError, match=r"text.corpus.path: the URL must not hold credentials"
    ) as caught:
        parse_params(tree)

    assert "secret" not in str(caught.value)
    assert "user@" not in str(caught.value)
