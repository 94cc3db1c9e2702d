"""Reading of files: tables in several formats, lines of text, folders of images."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd

from polydistill.errors import DataError, MissingDataError, short

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif"})


def read_table(path: Path) -> pd.DataFrame:
    """Read a table: Parquet, CSV, TSV, JSON lines, a text file, a folder or glob of them, or a folder of images.

    Cells of CSV and TSV files are read as strings, so `01` and `NA` are kept; only an empty cell is missing. A text
    file has one example per line and gives a column `text`. A folder of images gives the columns `image` (bytes)
    and `name`. If every image is in a subfolder, the column `label` has the subfolders' names.

    Raises:
        MissingDataError: There is no such file.
        DataError: A file is damaged or has an unknown format, or the files of one table have different columns.
    """
    files = _table_files(path)
    if not files:
        return _image_table(path)
    frames = [_read_file(file) for file in files]
    for file, frame in zip(files, frames, strict=True):
        if set(frame) != set(frames[0]):
            raise DataError(
                f"{file} must have the columns of {files[0]}: {_listed(frames[0])}; got {_listed(frame)}."
            )
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


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
    """Return the lines of a text file. Each line is an example, or the path of a file with one.

    Raises:
        MissingDataError: There is no such file.
        DataError: The file is not UTF-8, or is empty.
    """
    if not path.is_file():
        raise MissingDataError(f"No file {path}. Pass a text file with one example per line.")
    try:
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} must be UTF-8 text, one example per line: {error}.") from error
    if lines == [""]:
        raise DataError(f"{path} is empty. Expected one example per line.")
    return lines


def image_files(folder: Path) -> list[Path]:
    """Return the images in a folder and its subfolders, sorted by path; empty if it is not a folder."""
    return sorted(one for one in folder.rglob("*") if one.suffix.lower() in IMAGE_SUFFIXES)


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))


def _table_files(path: Path) -> Sequence[Path]:
    """Return the files of a table, sorted by name; empty for a folder without tables."""
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(one for one in path.iterdir() if one.suffix.lower() in READERS)
    pattern = path.relative_to(path.anchor).as_posix()
    found = sorted(one for one in Path(path.anchor).glob(pattern) if one.is_file())
    if not found:
        raise MissingDataError(
            f"No file {path}: correct the path. In a project, `dvc pull data.dvc` downloads the data."
        )
    return found


def _read_file(path: Path) -> pd.DataFrame:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} must end in {', '.join(READERS)}.")
    try:
        return reader(path)
    except DataError:
        raise
    except (ValueError, OSError) as error:  # the base classes of errors in pyarrow and pandas
        raise DataError(
            f"{path} cannot be read: {str(error).rstrip('.')}. A text file must be UTF-8: "
            "correct the file and run this again."
        ) from error


def _read_cells(path: Path) -> pd.DataFrame:
    """Read every cell of a CSV or TSV file as text; an empty cell is missing."""
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    mark = ";" if ";" in header and "," not in header else ","
    frame = pd.read_csv(
        path,
        sep="\t" if path.suffix.lower() == ".tsv" else mark,
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
        row = None
        with suppress(ValueError):
            row = json.loads(line)
        if not isinstance(row, dict):
            raise DataError(
                f"{path}, line {number}, must be a JSON object, got {short(line)}: correct it."
            )
        rows.append(row)
    return pd.DataFrame(rows, dtype=object)


def _read_text(path: Path) -> pd.DataFrame:
    return pd.DataFrame({"text": read_lines(path)}, dtype=object)


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": pd.read_parquet,
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
