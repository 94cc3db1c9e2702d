"""Reading of examples from a Python caller's lists, columns, tables, files and folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from polydistill.contracts import Modality
from polydistill.data.files import read_lines, read_table
from polydistill.errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif"})
COLUMNS = ("text", "texts", "sentence", "content", "body", "review", "image", "smiles")
"""Names of example columns, in order of preference, for tables without a column named like the modality's."""


def guess_modality(values: object) -> str:
    """Return `vision` for arrays, bytes, Pillow images and image files, and `text` for other strings.

    SMILES are strings too: pass `modality="molecules"` for them.

    Examples:
        >>> guess_modality(["a text"]), guess_modality([b"..."]), guess_modality(["photo.png"])
        ('text', 'vision', 'vision')
    """
    if isinstance(values, str | Path):
        folder = Path(values)
        is_images = folder.is_dir() and any(
            file.suffix.lower() in IMAGE_SUFFIXES for file in folder.iterdir()
        )
        return "vision" if is_images else "text"
    first = next(iter(values), "") if isinstance(values, Iterable) else ""
    if isinstance(first, Path) or not isinstance(first, str):
        return "vision"
    return "vision" if Path(first[:300]).suffix.lower() in IMAGE_SUFFIXES else "text"


def read_inputs(source: object, modality: Modality, *, column: str | None = None) -> list[object]:
    """Return the examples of any source as a list of values that the modality can read.

    Args:
        source: A list, tuple, array or Series of examples; a DataFrame or a `datasets.Dataset`; or the path of a
            Parquet, CSV, JSONL or text file, or of a folder of such files or of images.
        modality: The modality of the examples.
        column: The column of examples, if the source is a table.

    Raises:
        MissingDataError: There is no such file.
        DataError: The table has no such column, or the source has no example.
    """
    values = _read(source, modality, column)
    if not values:
        raise DataError("At least one example is needed, got none.")
    return values


def _read(source: object, modality: Modality, column: str | None) -> list[object]:
    if isinstance(source, str | Path):
        return _read_path(Path(source), modality, column)
    if isinstance(source, pd.DataFrame):
        return list(source[_column_of(list(source.columns), modality, column)])
    names = getattr(source, "column_names", None)  # a datasets.Dataset
    if names is not None and not isinstance(source, Mapping):
        return list(source[_column_of(list(names), modality, column)])  # type: ignore[index]
    if isinstance(source, np.ndarray) and source.dtype.kind not in "OSU":
        return list(source)  # images, one per row
    if not isinstance(source, Iterable) or isinstance(source, bytes | Mapping):
        raise DataError(
            "Examples must be a list, a column, a table or a path, got "
            f"{type(source).__name__}: put a single example into a list."
        )
    return list(source)


def _read_path(path: Path, modality: Modality, column: str | None) -> list[object]:
    if path.is_dir():
        images = sorted(one for one in path.rglob("*") if one.suffix.lower() in IMAGE_SUFFIXES)
        if images:
            return list(images)
    if path.suffix == ".txt":
        return list(read_lines(path))
    frame = read_table(path)
    return list(frame[_column_of(list(frame.columns), modality, column)])


def _column_of(names: list[str], modality: Modality, column: str | None) -> str:
    wanted = [column] if column is not None else [modality.column, *COLUMNS]
    found = next((name for name in wanted if name in names), None)
    if found is None and column is None and len(names) == 1:
        found = names[0]
    if found is None:
        raise DataError(
            f"A table of examples must have a column {wanted[0]!r}, got {', '.join(map(str, names))}: "
            "name the column with `column=`."
        )
    return found
