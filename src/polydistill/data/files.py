"""Reading of files: tables in several formats, lines of text, folders of images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path

import pandas as pd

from polydistill.errors import DataError, MissingDataError


def read_table(path: Path) -> pd.DataFrame:
    """Read a table: Parquet, CSV, TSV, JSON lines, a text file, a folder or glob of them, or a folder of images.

    Cells of text formats are read as text, without conversion: `01` and `NA` are texts, and only an empty cell is
    missing. A text file has one example per line and gives a column `text`. A folder of images gives the columns
    `image` (bytes) and `name`, and `label`, the subfolder's name, if every image is in a subfolder.

    Raises:
        MissingDataError: There is no such file.
        DataError: A file is damaged or has an unknown format, or files of one table have different columns.
    """
    files = _table_files(path)
    if not files:
        images = _image_files(path)
        if images:
            return _image_table(path, images)
        raise DataError(f"{path} must hold {', '.join(READERS)} files or images, got none.")
    frames = [_read_file(file) for file in files]
    for file, frame in zip(files, frames, strict=True):
        if set(frame) != set(frames[0]):
            raise DataError(
                f"{file} must have the columns of {files[0]}: {', '.join(map(str, frames[0]))}; got {', '.join(map(str, frame))}."
            )
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def _table_files(path: Path) -> list[Path]:
    """Return the files of a table, sorted by name.

    Raises:
        MissingDataError: There is no such file.
    """
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(one for one in path.iterdir() if one.suffix.lower() in READERS)
    found = sorted(one for one in _matching(path) if one.is_file())
    if not found:
        raise MissingDataError(
            f"No file {path}. `dvc pull data.dvc` downloads a project's data from its remote."
        )
    return found


def _matching(pattern: Path) -> Iterator[Path]:
    """Yield the paths that match a pattern such as `data/*.csv`."""
    fixed = list(takewhile(lambda part: not set(part) & set("*?["), pattern.parts))
    variable = pattern.parts[len(fixed) :]
    return Path(*fixed).glob("/".join(variable)) if variable else iter(())


def _read_file(path: Path) -> pd.DataFrame:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} must end in {', '.join(READERS)}.")
    try:
        return reader(path)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} cannot be read: it must be UTF-8 text ({error}). Save it as UTF-8."
        ) from error
    except (ValueError, OSError) as error:  # the base classes of errors in pyarrow and pandas
        raise DataError(
            f"{path} cannot be read: {str(error).rstrip('.')}. "
            "Correct it, or restore the version in DVC's cache with `dvc checkout data.dvc`."
        ) from error


def _read_parquet(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path)


def _read_csv(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    return _as_texts(path, ";" if ";" in header and "," not in header else ",")


def _read_tsv(path: Path) -> pd.DataFrame:
    return _as_texts(path, "\t")


def _as_texts(path: Path, separator: str) -> pd.DataFrame:
    """Read every cell as text; an empty cell is missing."""
    frame = pd.read_csv(
        path,
        sep=separator,
        dtype=str,
        keep_default_na=False,
        encoding="utf-8-sig",
        skip_blank_lines=False,
    )
    return frame.where(frame != "")


def _read_json_lines(path: Path) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(  # noqa: TRY004  the caller handles ValueError
                f"line {number} must be a JSON object, got {type(row).__name__}"
            )
        rows.append(row)
    return pd.DataFrame(rows, dtype=object)


def _read_text(path: Path) -> pd.DataFrame:
    return pd.DataFrame({"text": read_lines(path)}, dtype=object)


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".txt": _read_text,
}
"""The reader of each file format, by suffix."""
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif"})


def _image_files(folder: Path) -> list[Path]:
    return sorted(one for one in folder.rglob("*") if one.suffix.lower() in IMAGE_SUFFIXES)


def _image_table(folder: Path, images: Sequence[Path]) -> pd.DataFrame:
    names = [one.relative_to(folder) for one in images]
    columns: dict[str, list[object]] = {
        "image": [one.read_bytes() for one in images],
        "name": [one.as_posix() for one in names],
    }
    if all(len(one.parts) > 1 for one in names):
        columns["label"] = [one.parent.as_posix() for one in names]
    return pd.DataFrame(columns)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file with one example per line: the example itself, or the path of its file.

    Raises:
        MissingDataError: There is no such file.
        DataError: The file is not UTF-8, or is empty.
    """
    if not path.is_file():
        raise MissingDataError(f"No file {path}: give a text file, one example per line.")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} must be UTF-8 text, one example per line: {error}.") from error
    if not lines[-1]:
        lines = lines[:-1]
    if not lines:
        raise DataError(f"{path} must hold one example per line, got an empty file.")
    return lines
