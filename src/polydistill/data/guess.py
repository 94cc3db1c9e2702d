"""Guesses about a user's table: its modality, and its columns of examples and labels."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from polydistill.config.data import TaskKind
from polydistill.contracts import Modality
from polydistill.errors import DataError

EXAMPLES = (
    "text", "texts", "sentence", "review", "comment", "content", "body", "document", "description", "question",
    "query", "utterance", "title", "image", "smiles",
)  # fmt: skip
"""Usual names of a column of examples, in order of preference, in lower case."""
MOLECULES = ("smiles", "canonical_smiles")
RATED = ("stars", "rating", "ratings", "score", "value", "target")
"""Usual names of numeric labels, whose order matters."""
LABELS = ("label", "labels", "class", "category", "intent", "sentiment", "topic", "tag", *RATED)
"""Usual names of a column of labels."""
FEW_CLASSES = 100
"""The greatest number of different whole numbers that are taken for classes."""


def guess_modality(frame: pd.DataFrame) -> str:
    """Return `vision` for a table with a column `image`, `molecules` for one with a column `smiles`, else `text`.

    Examples:
        >>> guess_modality(pd.DataFrame({"SMILES": ["CCO"], "logp": ["-0.3"]}))
        'molecules'
    """
    names = _by_lower_case(frame)
    if "image" in names:
        return "vision"
    return "molecules" if any(name in names for name in MOLECULES) else "text"


def guess_column(frame: pd.DataFrame, modality: Modality) -> str:
    """Return the column of examples: the column with a usual name, or else the one with the longest texts.

    Raises:
        DataError: No column holds texts or images.

    Examples:
        >>> from polydistill.data.modalities import MODALITIES
        >>> guess_column(pd.DataFrame({"who": ["me"], "said": ["a long text"]}), MODALITIES.get("text")())
        'said'
    """
    names, texts = _by_lower_case(frame), _columns_of_examples(frame)
    for usual in (modality.column, *MOLECULES, *EXAMPLES):
        if names.get(usual) in texts:
            return names[usual]
    if not texts:
        raise DataError(
            f"The table must have a column of examples, got {', '.join(map(str, frame.columns))}: "
            "name it with --column."
        )
    return max(texts, key=lambda name: frame[name].dropna().map(len).mean())


def guess_label(frame: pd.DataFrame, column: str) -> str | None:
    """Return the column with a usual name of labels and several values; None if there is no such column.

    Examples:
        >>> guess_label(pd.DataFrame({"text": ["a", "b"], "Stars": ["4", "5"]}), "text")
        'Stars'
    """
    names = _by_lower_case(frame)
    for usual in LABELS:
        name = names.get(usual)
        if name is not None and name != column and frame[name].nunique() > 1:
            return name
    return None


def guess_kind(labels: pd.Series, name: str) -> TaskKind:
    """Return `regression` for measurements, `classification` for all other labels.

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


def _by_lower_case(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name).strip().lower(): str(name) for name in frame.columns}


def _columns_of_examples(frame: pd.DataFrame) -> Sequence[str]:
    return [
        str(name)
        for name in frame.columns
        if len(filled := frame[name].dropna()) and isinstance(filled.iloc[0], str | bytes)
    ]
