"""The results of a run: in the registry, the ledger and the project folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polydistill.students import encode, load_student
from tests.services.live_project import Output, Shell

TEXTS = ["a bead", "no cabbage", "hip"]


@dataclass(frozen=True)
class Night:
    """The results of a run of the flow.

    Attributes:
        output: The output of the run.
        aliases: The versions that the aliases point to.
        actions: The actions in the ledger, in order.
        answers: The embeddings of `TEXTS` by the student in the folder.
    """

    output: str
    aliases: dict[str, int]
    actions: list[str]
    answers: np.ndarray[Any, Any]


def history(shell: Shell, folder: Path) -> dict[str, Any]:
    output = shell.polydistill(folder, "history", "student-text", "--json")
    answer: dict[str, Any] = json.loads(output.text.splitlines()[-1])
    return answer


def look(shell: Shell, project: Path, output: Output) -> Night:
    reported = history(shell, project)
    student = load_student(project / "artifacts/text/student")
    actions = [entry["action"] for entry in reported["entries"]]
    return Night(output.text, reported["aliases"], actions, encode(student, TEXTS))


def files_of(project: Path) -> dict[str, bytes]:
    """Return the files that a failing run must not change."""
    folders = [project / name for name in ("artifacts", "mlruns", "reports", "data")]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return {str(file): file.read_bytes() for file in [*files, project / "dvc.lock"]}
