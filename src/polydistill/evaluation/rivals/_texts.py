"""What rivals of texts share: a task's texts by content id, and the pattern of words."""

import pandas as pd

from polydistill.data.texts import canonical_text
from polydistill.errors import ParamsError
from polydistill.evaluation.rivals import RivalData
from polydistill.evaluation.task import TaskSource

WORD = r"(?u)\b\w+\b"


def require_texts(name: str, data: RivalData) -> None:
    """Refuse inputs that are not texts.

    Raises:
        ParamsError: The first input is an image.
    """
    if data.examples and isinstance(data.examples[0], bytes):
        raise ParamsError(
            f"The rival {name!r} reads texts, and not images: remove it from `evaluation.rivals`."
        )


def texts_of(source: TaskSource, rows: pd.DataFrame) -> dict[str, str]:
    """Return the distinct texts of a task's rows by content id, of pairs both."""
    found: dict[str, str] = {}
    for side in ("", "1", "2"):
        if (column := f"{source.column}{side}") in rows:
            texts = map(canonical_text, rows[column])
            found |= zip(source.contents(rows, side), texts, strict=True)
    return found
