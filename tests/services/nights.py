"""What a night has left: in the registry, in the ledger, in the folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polydistill.students import encode, load_student
from tests.services.live_project import Said, Shell

TEXTS = ["a bead", "no cabbage", "hip"]


@dataclass(frozen=True)
class Night:
    """A run of the flow, and what the registry held after it.

    Attributes:
        said: By the run.
        aliases: Where each pointed.
        actions: Of the ledger, in order.
        answers: Of the student in the folder to `TEXTS`.
    """

    said: str
    aliases: dict[str, int]
    actions: list[str]
    answers: np.ndarray[Any, Any]


def history(shell: Shell, folder: Path) -> dict[str, Any]:
    said = shell.polydistill(folder, "history", "student-text", "--json")
    answer: dict[str, Any] = json.loads(said.text.splitlines()[-1])
    return answer


def look(shell: Shell, project: Path, said: Said) -> Night:
    told = history(shell, project)
    student = load_student(project / "artifacts/text/student")
    actions = [entry["action"] for entry in told["entries"]]
    return Night(said.text, told["aliases"], actions, encode(student, TEXTS))


def files_of(project: Path) -> dict[str, bytes]:
    """Return what a run that fails must not touch."""
    folders = [project / name for name in ("artifacts", "mlruns", "reports", "data")]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return {str(file): file.read_bytes() for file in [*files, project / "dvc.lock"]}
