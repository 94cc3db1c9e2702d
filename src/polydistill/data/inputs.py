"""Reading of examples from a Python caller's lists, columns, tables, files and folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from polydistill.contracts import Modality
from polydistill.data import guess
from polydistill.data.files import read_lines, read_table
from polydistill.errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif"})


def open_source(source: object) -> object:
    """Return what a path leads to: a table, the lines of a text file, or the paths of images.

    An iterator becomes a list, because it can be read only once. Everything else is returned as it is.

    Raises:
        MissingDataError: There is no such file.
        DataError: The file is damaged or has an unknown format.
    """
    if isinstance(source, Iterator):
        return list(source)
    if not isinstance(source, str | Path):
        return source
    path = Path(source)
    if path.is_dir():
        images = sorted(one for one in path.rglob("*") if one.suffix.lower() in IMAGE_SUFFIXES)
        if images:
            return images
    return list(read_lines(path)) if path.suffix == ".txt" else read_table(path)


def guess_modality(source: object) -> str:
    """Return the modality of examples.

    It is `vision` for arrays, bytes, Pillow images and image files, and for a table with a column `image`;
    `molecules` for a table with a column `smiles`; and `text` for everything else. A list of SMILES is a list of
    strings: pass `modality="molecules"` for it.

    Args:
        source: From `open_source`.

    Examples:
        >>> guess_modality(["a text"]), guess_modality([b"..."]), guess_modality(["photo.png"])
        ('text', 'vision', 'vision')
        >>> guess_modality(pd.DataFrame({"smiles": ["CCO"]}))
        'molecules'
    """
    names = _column_names(source)
    if names is not None:
        return guess.guess_modality(pd.DataFrame(columns=names))
    first = next(iter(source), "") if isinstance(source, Iterable) else ""
    if isinstance(first, Path) or not isinstance(first, str):
        return "text" if _is_missing(first) else "vision"
    return "vision" if Path(first[:300]).suffix.lower() in IMAGE_SUFFIXES else "text"


def read_inputs(source: object, modality: Modality, *, column: str | None = None) -> list[object]:
    """Return the examples of a source as a list of values that the modality can read.

    Args:
        source: From `open_source`: a list, tuple, array or Series of examples; a DataFrame or a `datasets.Dataset`.
        modality: The modality of the examples.
        column: The column of examples, if the source is a table.

    Returns:
        One value per row; None for a missing or blank one.

    Raises:
        DataError: The table has no such column, or the source has no example.
    """
    values = _values(source, modality, column)
    if not values:
        raise DataError("At least one example is needed, got none.")
    return [None if _is_missing(value) else value for value in values]


def _values(source: object, modality: Modality, column: str | None) -> list[object]:
    names = _column_names(source)
    if names is not None:
        return list(source[_column_of(names, modality, column)])  # type: ignore[index]
    if isinstance(source, np.ndarray) and source.dtype.kind not in "OSU":
        return list(source)  # images, one per row
    if not isinstance(source, Iterable) or isinstance(source, bytes | Mapping):
        raise DataError(
            "Examples must be a list, a column, a table or a path, got "
            f"{type(source).__name__}: put a single example into a list."
        )
    return list(source)


def _column_names(source: object) -> list[str] | None:
    """Return the names of a table's columns; none if it is no DataFrame and no `datasets.Dataset`."""
    if isinstance(source, pd.DataFrame):
        return [str(name) for name in source.columns]
    names = getattr(source, "column_names", None)
    return list(names) if isinstance(names, list) else None


def _column_of(names: list[str], modality: Modality, column: str | None) -> str:
    usual = [modality.column, *guess.EXAMPLES, *guess.MOLECULES]
    wanted = [column] if column is not None else usual
    found = next((name for name in wanted if name in names), None)
    if found is None and column is None and len(names) == 1:
        found = names[0]
    if found is None:
        raise DataError(
            f"A table of examples must have a column {wanted[0]!r}, got {', '.join(names)}: "
            "name the column with `column=`."
        )
    return found


def _is_missing(value: object) -> bool:
    if isinstance(value, str | bytes):
        return not value or value.isspace()
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))
