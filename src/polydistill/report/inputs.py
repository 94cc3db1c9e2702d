"""What the report is drawn from; a file that may be missing is None, and the page says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa

from polydistill.errors import DataError
from polydistill.evaluation.scores import Scores, read_scores
from polydistill.project.layout import Layout

Value = TypeVar("Value")
HISTORY_COLUMNS = ["step", "teacher", "split", "nats"]
Json = dict[str, Any]


@dataclass(frozen=True)
class Inputs:
    """The files of a finished run.

    Attributes:
        scores: See `scores.Scores`.
        verdict: What the gate said last, if it has run.
        validation: What the expectations said of the data.
        local_status: Which third-party tasks are there.
        distillation: The distill stage's metrics.
        history: Columns `step`, `teacher`, `split`, `nats`.
    """

    scores: Scores
    verdict: Json | None
    validation: Json | None
    local_status: Json | None
    distillation: Json | None
    history: pd.DataFrame | None

    @property
    def verdict_is_old(self) -> bool:
        """Whether the gate judged another student than the one that lies here."""
        judged = (self.verdict or {}).get("student_sha256")
        here = (self.distillation or {}).get("student_sha256")
        return judged is not None and here is not None and judged != here


def read_inputs(layout: Layout) -> Inputs:
    """Read what is there.

    Raises:
        MissingDataError: There is no `scores.json`.
        DataError: A file is damaged.
    """
    return Inputs(
        scores=_checked(layout.scores, read_scores),
        verdict=_optional(layout.verdict, _read_json),
        validation=_optional(layout.validation, _read_json),
        local_status=_optional(layout.local_status, _read_json),
        distillation=_optional(layout.distillation, _read_json),
        history=_optional(layout.history, _read_history),
    )


def _optional(path: Path, read: Callable[[Path], Value]) -> Value | None:
    return _checked(path, read) if path.exists() else None


def _checked(path: Path, read: Callable[[Path], Value]) -> Value:
    try:
        return read(path)
    except DataError:
        raise
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path} is damaged: {error}. Remove it and run its stage again."
        ) from error


def _read_json(path: Path) -> Json:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold a JSON object, got {type(content).__name__}.")
    return content


def _read_history(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    if missing := [column for column in HISTORY_COLUMNS if column not in frame]:
        raise DataError(f"{path} must have a column {missing[0]!r}: run the distill stage again.")
    return frame[HISTORY_COLUMNS]
