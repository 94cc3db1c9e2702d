"""Files of results: reads the reports of the stages, and writes reproducible JSON files and pages."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from polydistill.errors import DataError, short
from polydistill.evaluation.statistics.kinds import Scores
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout
from polydistill.project.reports import Json, read_report

DECIMALS = 4
HISTORY_COLUMNS = ["step", "teacher", "split", "nats"]
TEMPLATES = Environment(
    loader=PackageLoader("polydistill.report", "."),
    autoescape=select_autoescape(["html.jinja"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_results(
    folder: Path, name: str, tree: Mapping[str, object], page: str, *, figure: str | None = None
) -> None:
    """Write `<name>.json` with numbers to four decimals, `<name>.md` and, with a figure, `<name>.svg`."""
    files = {f"{name}.json": json.dumps(rounded(tree), indent=1) + "\n", f"{name}.md": page}
    if figure is not None:
        files[f"{name}.svg"] = figure
    for file, content in files.items():
        write_atomic(folder / file, content)


def rounded(tree: Mapping[str, object]) -> Json:
    """Return the content of a JSON file of results: sorted keys, and numbers to four decimals."""
    text = json.dumps(tree, sort_keys=True, allow_nan=False)
    content: Json = json.loads(text, parse_float=lambda number: round(float(number), DECIMALS))
    return content


class Inputs(NamedTuple):
    """The contents of the files of a finished run. An attribute is None if the file is missing.

    Attributes:
        scores: See `statistics.kinds.Scores`.
        verdict: The last verdict of the gate.
        validation: The results of the expectations about the data.
        local_status: The available and unavailable third-party tasks.
        distillation: The metrics of the distill stage.
        history: The training curves, with the columns `step`, `teacher`, `split` and `nats`.
    """

    scores: Scores
    verdict: Json | None
    validation: Json | None
    local_status: Json | None
    distillation: Json | None
    history: pd.DataFrame | None


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


def optional_json(path: Path) -> Json | None:
    """Return the content of a JSON file of results; None if it is missing.

    Raises:
        DataError: The file is damaged.
    """
    if not path.exists():
        return None
    try:
        content: Json = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}. Make it again, or remove it.") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path} is damaged: it must hold a JSON object, got {short(content)}. Make it again, or remove it."
        )
    return content


def _optional(path: Path, stage: str) -> Json | None:
    return read_report(path, stage) if path.exists() else None


def _read_history(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, columns=HISTORY_COLUMNS)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is damaged: {error}. Run the distill stage again.") from error
