"""A user's examples: their sources, and guesses about modality, columns and kind of task."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polydistill.config.data import TaskKind
from polydistill.contracts import Modality
from polydistill.data.files import (
    IMAGE_SUFFIXES,
    image_files,
    read_table,
    require_column,
    with_string_names,
)
from polydistill.errors import DataError, PolydistillError, short

EXAMPLES = (
    "smiles", "canonical_smiles", "text", "texts", "sentence", "review", "comment", "content", "body", "document",
    "description", "question", "query", "utterance", "title", "image",
)  # fmt: skip
"""Common names of a column of examples, in lower case and in order of preference."""
RATED = ("stars", "rating", "ratings", "score", "value", "target")
"""Common names of a column of ratings: numeric labels whose order matters."""
LABELS = ("label", "labels", "class", "category", "intent", "sentiment", "topic", "tag", *RATED)
"""Common names of a column of labels."""
FEW_CLASSES = 100
"""The maximum number of distinct whole numbers that are treated as classes."""


def open_source(source: object) -> object:
    """For a path, return the paths of its images or, if there are none, its table.

    An iterator becomes a list, because it can be read only once. Everything else is returned unchanged.

    Raises:
        MissingDataError: There is no such file.
        DataError: The file is damaged or has an unknown format, or two columns have the same name.
    """
    if isinstance(source, str | Path):
        if not str(source):
            raise DataError("The path of the examples is empty: name a file or a folder.")
        try:
            return image_files(Path(source)) or read_table(Path(source))
        except (OSError, ValueError) as error:  # a path that no file can have
            if isinstance(error, PolydistillError):
                raise
            raise DataError(f"{short(str(source))} is not the path of a file: {error}.") from error
    if isinstance(source, pd.DataFrame):
        return with_string_names(source, "A table of examples")
    if getattr(source, "ndim", 1) == 0:
        raise DataError(f"Examples must be a list, got one value, {short(source)}.")
    return list(source) if isinstance(source, Iterator) else source


def read_inputs(source: Any, modality: Modality, *, column: str | None = None) -> list[object]:
    """Return the examples of a source as a list of values that the modality can read.

    Args:
        source: The value that `open_source` returned: a list, tuple, array or Series of examples, a DataFrame or a
            `datasets.Dataset`.
        modality: The modality of the examples.
        column: The column of examples, if the source is a table.

    Returns:
        One value per row; None for a missing or blank value.

    Raises:
        DataError: The table has no such column, or the source has no example.
    """
    names = _column_names(source)
    if names is not None:
        usual = names if len(names) == 1 else _usual(names, (modality.column, *EXAMPLES))
        wanted = column or next(iter(usual), modality.column)
        hint = "Name the column of the examples with `column=`."
        require_column(names, wanted, "A table of examples", hint)
        source = source[wanted]
    elif not isinstance(source, Iterable) or isinstance(source, bytes | Mapping):
        raise DataError(
            "Examples must be a list, a column, a table or a path, got "
            f"{type(source).__name__}: put a single example into a list."
        )
    values = [None if _is_missing(value) else value for value in source]
    if not values:
        raise DataError("At least one example is needed, got none.")
    return values


def guess_modality(source: Any) -> str:
    """Return the modality of examples.

    The modality is `vision` for arrays, bytes, Pillow images, image files and data URIs, and for a table with a column `image`;
    `molecules` for a table with a column `smiles`; and `text` for everything else. A list of SMILES strings
    is treated as `text`: pass `modality="molecules"` for it.

    Args:
        source: The value that `open_source` returned.

    Examples:
        >>> guess_modality(["a text"]), guess_modality([b"..."]), guess_modality(["photo.png"])
        ('text', 'vision', 'vision')
        >>> guess_modality(pd.DataFrame({"SMILES": ["CCO"], "logp": ["-0.3"]}))
        'molecules'
    """
    names = _column_names(source)
    if names is not None:
        if _usual(names, ("image",)):
            return "vision"
        if _usual(names, ("smiles", "canonical_smiles")):
            return "molecules"
        if len(names) != 1 or _usual(names, EXAMPLES):
            return "text"
        source = source[names[0]]
    first = next(iter(source), "") if isinstance(source, Iterable) else ""
    if isinstance(first, str):
        is_image = Path(first[:300]).suffix.lower() in IMAGE_SUFFIXES
        return "vision" if is_image or first[:11].lower() == "data:image/" else "text"
    return "text" if _is_missing(first) else "vision"


def guess_column(frame: pd.DataFrame, modality: Modality) -> str:
    """Return the column of examples: the column with a common name, or else the column with the longest texts.

    Raises:
        DataError: No column holds texts or images, or there is no row.

    Examples:
        >>> from polydistill.data.modalities import MODALITIES
        >>> guess_column(pd.DataFrame({"who": ["me"], "said": ["a long text"]}), MODALITIES.get("text")())
        'said'
    """
    filled = {str(name): frame[name].dropna() for name in frame.columns}
    lengths = {
        name: values.map(len).mean()
        for name, values in filled.items()
        if len(values) and isinstance(values.iloc[0], str | bytes | Mapping)
    }
    if not len(frame):
        raise DataError("The table must have rows, got none.")
    if not lengths:
        raise DataError(
            f"The table must have a column of examples, got {', '.join(filled)}: "
            "name it with --column."
        )
    usual = _usual(lengths, (modality.column, *EXAMPLES))
    return usual[0] if usual else max(lengths, key=lambda name: lengths[name])


def guess_label(frame: pd.DataFrame, column: str) -> str | None:
    """Return the column that has a common name of labels and at least two distinct values; None if there is none.

    Examples:
        >>> guess_label(pd.DataFrame({"text": ["a", "b"], "Stars": ["4", "5"]}), "text")
        'Stars'
    """
    usual = _usual([str(name) for name in frame.columns if name != column], LABELS)
    return next((name for name in usual if frame[name].nunique() > 1), None)


def guess_kind(labels: pd.Series, name: str) -> TaskKind:
    """Return `regression` for ratings and measurements, `classification` for all other labels.

    Whole numbers are classes, unless their column has the name of a rating or has more than `FEW_CLASSES` values.

    Examples:
        >>> guess_kind(pd.Series(["4", "5", "1"]), "stars"), guess_kind(pd.Series(["4", "5", "1"]), "intent")
        ('regression', 'classification')
    """
    numbers = pd.to_numeric(labels.dropna(), errors="coerce")
    if numbers.isna().any() or numbers.nunique() < 3:
        return "classification"
    is_whole = bool((numbers % 1 == 0).all())
    is_rated = name.lower() in RATED or not is_whole or numbers.nunique() > FEW_CLASSES
    return "regression" if is_rated else "classification"


def _usual(names: Iterable[str], usual: Sequence[str]) -> list[str]:
    """Return the names that are in `usual`, ignoring case, in the order of `usual`."""
    known = {name.strip().lower(): name for name in names}
    return [known[name] for name in usual if name in known]


def _column_names(source: object) -> list[str] | None:
    """Return the column names of a DataFrame or a `datasets.Dataset`; None for any other source."""
    if isinstance(source, pd.DataFrame):
        return [str(name) for name in source.columns]
    names = getattr(source, "column_names", None)
    return list(names) if isinstance(names, list) else None


def _is_missing(value: object) -> bool:
    if isinstance(value, str | bytes):
        return not value or value.isspace()
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))
