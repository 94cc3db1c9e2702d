"""The files that the report is made from. A file that may be missing is None, and the page says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from polydistill.errors import DataError
from polydistill.evaluation.scores import Scores
from polydistill.project.layout import Layout
from polydistill.report.results import read_report

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
        """Whether the gate judged another student than the one in the project."""
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
        scores=read_report(layout.scores, "evaluate"),
        verdict=_optional(layout.verdict, "promote"),
        validation=_optional(layout.validation, "validate"),
        local_status=_optional(layout.local_status, "fetch-data"),
        distillation=_optional(layout.distillation, "distill"),
        history=_read_history(layout.history) if layout.history.exists() else None,
    )


def _optional(path: Path, stage: str) -> Json | None:
    return read_report(path, stage) if path.exists() else None


def _read_history(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is damaged: {error}. Run the distill stage again.") from error
    if missing := [column for column in HISTORY_COLUMNS if column not in frame]:
        raise DataError(f"{path} must have a column {missing[0]!r}: run the distill stage again.")
    return frame[HISTORY_COLUMNS]
