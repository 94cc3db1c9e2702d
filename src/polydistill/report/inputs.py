"""The files that the report is made from."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from polydistill.errors import DataError
from polydistill.evaluation.statistics.kinds import Scores
from polydistill.project.layout import Layout
from polydistill.report.results import read_report

HISTORY_COLUMNS = ["step", "teacher", "split", "nats"]
Json = dict[str, Any]


class Inputs(NamedTuple):
    """The files of a finished run; None if a file is missing.

    Attributes:
        scores: See `scores.Scores`.
        verdict: The last verdict of the gate.
        validation: The results of the expectations about the data.
        local_status: The available and unavailable third-party tasks.
        distillation: The metrics of the distill stage.
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
    """Read the files that exist.

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
        return pd.read_parquet(path, columns=HISTORY_COLUMNS)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is damaged: {error}. Run the distill stage again.") from error
