"""Reads the JSON reports of the stages, and checks their types before anything uses them."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from polydistill.errors import MissingDataError
from polydistill.project.card import damaged
from polydistill.project.layout import Layout

Json = dict[str, Any]
CONFIG = ConfigDict(strict=True, allow_inf_nan=False)


class Report(BaseModel):
    """Values that are read of a report; a default means that the key may be missing."""

    model_config = CONFIG


class Restart(Report):
    """What is read of a restart by the divergence guard; see `training.guard.Restart`."""

    step: int
    resumed_from: int
    reason: str


class Distillation(Report):
    """The keys of `distill.json` that are read; see `training.distillation.DistillReport`."""

    student_sha256: str
    dim: int
    n_train: int
    n_parameters: int
    steps: int
    best_step: int
    held_out_mean: float
    diverged: bool = False
    coverage_90: dict[str, float] = {}
    restarts: list[Restart] = []


class Expectation(Report):
    """What is read of an expectation in `validation.json`."""

    success: bool
    table: str = ""
    column: str | None = None
    type: str = ""
    because: str = ""
    count: int = 0


class Validation(Report):
    """The keys of `validation.json`."""

    success: bool
    rules: list[Expectation]


class Rule(Report):
    """What is read of a rule in `promotion.json`; see `registry.evidence.RuleOutcome`."""

    name: str
    passed: bool
    because: str
    value: float | None
    bound: float | None
    bound_is: Literal["least", "most"] = "least"
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    task: str | None = None
    skipped: bool = False


class Judged(Report):
    """The keys of `promotion.json` that are read; see `registry.gate.Verdict`."""

    outcome: str
    reason: str
    rules: list[Rule]
    refused: bool
    champion: int | None = None
    student_sha256: str = ""


class Unavailable(Report):
    """The keys of `unavailable.json`."""

    reason: str


class LocalStatus(Report):
    """The keys of `status.json`."""

    unavailable: dict[str, str] | list[str] = {}


SHAPES: dict[str, TypeAdapter[Any]] = {
    "distill": TypeAdapter(Distillation),
    "embed-rival": TypeAdapter(Unavailable),
    "evaluate": TypeAdapter(dict[str, dict[str, dict[str, float]]], config=CONFIG),
    "fetch-data": TypeAdapter(LocalStatus),
    "promote": TypeAdapter(Judged),
    "validate": TypeAdapter(Validation),
}
"""The type of each report, by the stage or command that writes it."""


def read_report(path: Path, stage: str) -> Json:
    """Return the JSON object in a report that a stage has written.

    Args:
        path: The file.
        stage: The stage or command that writes it, a key of `SHAPES`.

    Raises:
        MissingDataError: There is no such file.
        DataError: The file is damaged, or a value has another type.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content: Json = json.loads(text, parse_constant=_finite, parse_float=_finite)
        SHAPES[stage].validate_python(content)
    except FileNotFoundError:
        raise MissingDataError(f"No file {path}: run the {stage} stage first.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error, f"run the {stage} stage again") from error
    return content


def unavailable_rivals(layout: Layout, rivals: Iterable[str]) -> dict[str, str]:
    """Return the rivals that have no embeddings, with the reason that the embed-rival stage has noted.

    Raises:
        DataError: A note is damaged.
    """
    notes = {name: layout.unavailable(name) for name in rivals}
    return {
        name: read_report(note, "embed-rival")["reason"]
        for name, note in notes.items()
        if note.exists()
    }


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number
