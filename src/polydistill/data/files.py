"""Reading of files: tables in several formats, lines of text, folders of images."""

import codecs
import gzip
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from polydistill.config.data import UTF_8
from polydistill.data.remote import RemoteFile, is_remote, remote_files
from polydistill.errors import DataError, MissingDataError, short

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".avif"}
)
Opened = gzip.GzipFile | io.BufferedReader
File = Path | RemoteFile
Source = Path | str
"""A path, or a URL."""
GZIP, PARQUET = ".gz", ".parquet"
CHUNK_ROWS, CHUNK_BYTES = 65_536, 2**26
"""The maximum number of rows of a Parquet file that are read at once, and the approximate number of their bytes."""
ENCODING_HINT = (
    "Save the file as UTF-8, or name its encoding, such as latin-1 or cp1252: `encoding` beside the file's `path` in "
    "params.yaml, or `polydistill init --encoding`."
)
ARCHIVES = {
    b"\x1f\x8b": "compressed by gzip: let its name end in .gz",
    b"PK\x03\x04": "a zip archive: unpack it first",
}
"""The first bytes of files that are not read as tables, and what they are."""
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""The first bytes of the file that git has in place of a large file."""


def read_table(path: Source, encoding: str = UTF_8) -> pd.DataFrame:
    """Read a table: Parquet, CSV, TSV, JSON lines, a text file, a folder or glob of them, or a folder of images.

    Cells of CSV and TSV files are read as strings, so `01` and `NA` are kept; only an empty cell is missing. A text
    file has one example per line and gives a column `text`. A folder of images gives the columns `image` (bytes)
    and `name`. If every image is in a subfolder, the column `label` has the subfolders' names. Files may be
    compressed with gzip, as in `reviews.csv.gz`.

    Args:
        path: A file, a folder or a glob; or a URL of these, such as `s3://bucket/folder/*.parquet`.
        encoding: The encoding of text formats.

    Raises:
        MissingDataError: There is no such file.
        DataError: A file is damaged, empty, in another encoding or of an unknown format, or the files of one table
            have different columns.
    """
    files = _table_files(path)
    if isinstance(path, Path) and not files:
        return _image_table(path)
    frames = [_read_file(file, encoding) for file in files]
    for file, frame in zip(files, frames, strict=True):
        if set(frame) != set(frames[0]):
            raise DataError(
                f"{file} must have the columns of {files[0]}: {_listed(frames[0])}; got {_listed(frame)}."
            )
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def located(root: Path, path: str) -> Source:
    """Return the path of a table in a project: a URL, or a path relative to the project folder."""
    return path if is_remote(path) else root / path


def read_chunks(
    path: Source, encoding: str = UTF_8, *, columns: Sequence[str] = ()
) -> Iterator[pd.DataFrame]:
    """Yield the rows of a table in parts, in order; the index counts the rows of the whole table from 0.

    A part of a Parquet file has at most `CHUNK_ROWS` rows and about `CHUNK_BYTES` bytes. A file of another format is
    read whole.

    Args:
        path: See `read_table`.
        encoding: See `read_table`.
        columns: The columns to read from a Parquet file that has the first of them; empty: all columns.

    Raises:
        MissingDataError: See `read_table`.
        DataError: See `read_table`.
    """
    files = _table_files(path)
    if isinstance(path, Path) and not files:
        yield _image_table(path)
        return
    names, start = None, 0
    for file in files:
        for frame in _file_chunks(file, encoding, columns):
            if names is None:
                names = list(frame)
            elif set(frame) != set(names):
                raise DataError(
                    f"{file} must have the columns of {files[0]}: {_listed(names)}; got {_listed(frame)}."
                )
            yield frame.set_axis(pd.RangeIndex(start, start + len(frame)))
            start += len(frame)


def count_rows(path: Source, encoding: str = UTF_8) -> int:
    """Return the number of rows of a table; of Parquet files, only the footers are read.

    Raises:
        MissingDataError: See `read_table`.
        DataError: See `read_table`.
    """
    files = _table_files(path)
    if isinstance(path, Path) and not files:
        return len(image_files(path))
    return sum(_count_rows(file, encoding) for file in files)


def _count_rows(path: File, encoding: str) -> int:
    if path.suffix.lower() != PARQUET:
        return len(_read_file(path, encoding))
    with _reading(path) as file:
        return int(pq.read_metadata(file).num_rows)


def _file_chunks(path: File, encoding: str, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    if path.suffix.lower() != PARQUET:
        yield _read_file(path, encoding)
        return
    with _reading(path) as opened, pq.ParquetFile(opened) as file:
        there = file.schema_arrow.names
        wanted = [one for one in columns if one in there] if {*columns[:1]} & {*there} else None
        size = sum(file.metadata.row_group(n).total_byte_size for n in range(file.num_row_groups))
        rows = CHUNK_BYTES * file.metadata.num_rows // max(size, 1)
        for batch in file.iter_batches(min(max(rows, 1), CHUNK_ROWS), columns=wanted):
            yield batch.to_pandas(integer_object_nulls=True).reset_index(drop=True)
        if not file.metadata.num_rows:
            yield file.read(columns=wanted).to_pandas()


def require_column(columns: Iterable[object], wanted: str, table: str, hint: str = "") -> None:
    """Check that a table has a column.

    Args:
        columns: The table, or the names of its columns.
        wanted: The column's name.
        table: The table's name in the error message, such as its path.
        hint: A sentence of the error message on how to choose another column.

    Raises:
        DataError: The table has no such column.
    """
    if wanted not in columns:
        found = f"{table} must have a column {wanted!r}, got {_listed(columns)}. {hint}"
        raise DataError(found.rstrip())


def read_lines(path: Path) -> list[str]:
    r"""Return the lines of a text file. Each line is an example, or the path of a file with one.

    Lines end at `\n` or `\r\n` and nowhere else; a byte-order mark is dropped.

    Raises:
        MissingDataError: There is no such file.
        DataError: The file is not UTF-8, or is empty.
    """
    if not path.is_file():
        raise MissingDataError(f"No file {path}. Pass a text file with one example per line.")
    with _open(path) as file:
        lines = _lines(_decoded(file, path, UTF_8, "Save the file as UTF-8, one example per line."))
    if not lines:
        raise DataError(f"{path} is empty. Expected one example per line.")
    return lines


def image_files(folder: Path) -> list[Path]:
    """Return the images in a folder and its subfolders, sorted by path; empty if it is not a folder."""
    return sorted(one for one in folder.rglob("*") if one.suffix.lower() in IMAGE_SUFFIXES)


def with_string_names(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """Return a table whose columns are named by strings.

    Raises:
        DataError: Two columns have the same name, or the names have several levels.
    """
    names = [str(name) for name in frame.columns]
    if isinstance(frame.columns, pd.MultiIndex) or len({*names}) < len(names):
        raise DataError(f"{table} must have columns of different names, got {short(names)}.")
    return frame.set_axis(names, axis=1)


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))


def _table_files(path: Source) -> Sequence[File]:
    """Return the files of a table, sorted by name; empty for a folder without tables."""
    if isinstance(path, str):
        files = remote_files(path)
        return [one for one in files if _format(one) in READERS] or files
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(one for one in path.iterdir() if _format(one) in READERS and one.is_file())
    if os.path.lexists(path):
        is_link = path.is_symlink() and not path.exists()
        kind = "a link to no file" if is_link else "no regular file"
        raise DataError(f"{path} is {kind}: name a file, or a folder of files.")
    pattern = path.relative_to(path.anchor).as_posix()
    found = sorted(one for one in Path(path.anchor).glob(pattern) if one.is_file())
    if not found:
        raise MissingDataError(
            f"No file {path}: correct the path. In a project, `dvc pull data.dvc` downloads the data."
        )
    return found


def _format(path: File) -> str:
    """Return the suffix of a file's format: `.csv` for `A.CSV` and `a.csv.gz`."""
    name = Path(path.name.lower())
    return Path(name.stem).suffix if name.suffix == GZIP else name.suffix


def _open(path: File) -> Opened:
    """Open a file; one that ends in `.gz` is decompressed."""
    file: Opened = path.open("rb")
    return gzip.open(file) if path.suffix.lower() == GZIP else file


def _read_file(path: File, encoding: str) -> pd.DataFrame:
    reader = READERS.get(_format(path))
    if reader is None:
        raise DataError(f"{path} must end in {', '.join(READERS)}, or in one of these and {GZIP}.")
    with _reading(path) as file:
        return reader(file, path, encoding)


@contextmanager
def _reading(path: File) -> Iterator[Opened]:
    """Yield an open file; an error in the block is a `DataError` that names the file."""
    try:
        with _open(path) as file:
            _require_content(file.read(len(LFS_POINTER)), path)
            file.seek(0)
            yield file
    except DataError:
        raise
    except Exception as error:  # the libraries have no common base class of errors
        raise DataError(
            f"{path} cannot be read, it is damaged or of another format: {str(error)[:300].rstrip('.')}."
        ) from error


def _require_content(start: bytes, path: File) -> None:
    if not start:
        raise DataError(f"{path} is empty: expected a table.")
    for magic, what in ARCHIVES.items():
        if start.startswith(magic):
            raise DataError(f"{path} is {what}.")
    if start == LFS_POINTER:
        raise DataError(f"{path} is a Git LFS pointer, not the data: run `git lfs pull`.")


def _decoded(file: Opened, path: File, encoding: str, hint: str = ENCODING_HINT) -> str:
    """Return the text of a file without a byte-order mark.

    Raises:
        DataError: The file has another encoding; the message names the first line that cannot be decoded.
    """
    content = file.read()
    try:
        return content.decode("utf-8-sig" if codecs.lookup(encoding).name == UTF_8 else encoding)
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            hint = "It is UTF-16: set `encoding` to utf-16, or save the file as UTF-8."
        line, byte = content.count(b"\n", 0, start) + 1, content[start : start + 1].hex()
        raise DataError(
            f"{path}, line {line}: byte 0x{byte} is not {encoding} text. {hint}"
        ) from error


def _lines(text: str) -> list[str]:
    """Return the lines of a text; the last line needs no end."""
    lines = re.split("\r?\n", text)
    return lines if lines[-1] else lines[:-1]


def _read_parquet(file: Opened, path: File, encoding: str) -> pd.DataFrame:  # noqa: ARG001
    return pd.read_parquet(
        path if isinstance(path, Path) and path.suffix.lower() != GZIP else io.BytesIO(file.read())
    )


def _read_cells(file: Opened, path: File, encoding: str) -> pd.DataFrame:
    """Read every cell of a CSV or TSV file as text; an empty cell is missing."""
    text = _decoded(file, path, encoding)
    header = text.partition("\n")[0]
    mark = ";" if ";" in header and "," not in header else ","
    mark = "\t" if _format(path) == ".tsv" else mark
    frame = pd.read_csv(
        io.StringIO(text), sep=mark, dtype=str, keep_default_na=False, skip_blank_lines=False
    )
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes the first cells as an index
        raise DataError(
            f"{path} must have as many cells per row as its header, got more: put cells that contain {mark!r} in "
            "double quotes."
        )
    return frame.where(frame != "")


def _read_json_lines(file: Opened, path: File, encoding: str) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(_lines(_decoded(file, path, encoding)), 1):
        if not line.strip():
            continue
        row = None
        with suppress(ValueError):
            row = json.loads(line)
        if not isinstance(row, dict):
            raise DataError(
                f"{path}, line {number}, must be a JSON object, got {short(line)}: correct it."
            )
        rows.append(row)
    return pd.DataFrame(rows, dtype=object)


def _read_text(file: Opened, path: File, encoding: str) -> pd.DataFrame:
    return pd.DataFrame({"text": _lines(_decoded(file, path, encoding))}, dtype=object)


READERS: dict[str, Callable[[Opened, File, str], pd.DataFrame]] = {
    PARQUET: _read_parquet,
    ".csv": _read_cells,
    ".tsv": _read_cells,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".txt": _read_text,
}
"""The reader of each file format, by suffix."""


def _image_table(folder: Path) -> pd.DataFrame:
    images = image_files(folder)
    if not images:
        raise DataError(f"{folder} must hold {', '.join(READERS)} files or images, got none.")
    names = [one.relative_to(folder) for one in images]
    columns: dict[str, list[object]] = {
        "image": [one.read_bytes() for one in images],
        "name": [one.as_posix() for one in names],
    }
    if all(len(one.parts) > 1 for one in names):
        columns["label"] = [one.parent.as_posix() for one in names]
    return pd.DataFrame(columns)
