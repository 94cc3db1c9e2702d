"""Calls of the `polydistill` command from flows: each in its own process, with results as JSON."""

from __future__ import annotations

import json
import signal
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from polydistill.errors import DriftFoundError, GateRefusedError, MissingDataError, StageError
from polydistill.integrations.processes import Finished, run_command

ROOT = Path()
COMMAND = ("polydistill",)
COMMAND_TIMEOUT_S = 3600.0
SHOWN_LINES = 24


def call(*words: str) -> None:
    """Run a `polydistill` command and print its output.

    Args:
        words: The command and its arguments.

    Raises:
        StageError: The command failed; the message holds its last lines.
    """
    _run(words, hidden=())


def call_json(*words: str, answers: Container[int] = (0,)) -> dict[str, Any]:
    """Run a `polydistill` command with `--json` and return the JSON object that it prints last.

    Args:
        words: The command and its arguments.
        answers: The exit codes with which the command prints a JSON object.

    Raises:
        StageError: The command failed; the message holds its last lines.
    """
    return _answer(words, _run([*words, "--json"], hidden=None, answers=answers))


def judge(modality: str, *, dry_run: bool = False, expect: int | None = None) -> dict[str, Any]:
    """Return the gate's verdict on the challenger. A refusal is a verdict, not an error."""
    options = ["--dry-run"] if dry_run else []
    options += [] if expect is None else ["--expect", str(expect)]
    return call_json("promote", modality, *options, answers=(0, GateRefusedError.exit_code))


def drifted(modality: str) -> Sequence[str]:
    """Return the parts of the corpus that have drifted from the champion's; empty without a champion."""
    words = ("drift", modality, "--json")
    codes = (0, DriftFoundError.exit_code, MissingDataError.exit_code)
    finished = _run(words, hidden=None, answers=codes)
    if finished.exit_code == MissingDataError.exit_code:
        return ()
    found: list[str] = _answer(words, finished)["drifted"]
    return found


def _answer(words: Sequence[str], finished: Finished) -> dict[str, Any]:
    objects = [line for line in finished.lines if line.startswith("{")]
    if not objects:
        raise StageError(f"`polydistill {' '.join(words)}` printed no JSON object.")
    answer: dict[str, Any] = json.loads(objects[-1])
    return answer


def _run(
    words: tuple[str, ...] | list[str],
    *,
    hidden: Container[str] | None,
    answers: Container[int] = (0,),
) -> Finished:
    finished = run_command([*COMMAND, *words], ROOT, timeout_s=COMMAND_TIMEOUT_S, hidden=hidden)
    if finished.exit_code not in answers:
        error = StageError(
            "\n".join([_heading(words[0], finished), *finished.lines[-SHOWN_LINES:]])
        )
        error.exit_code = max(finished.exit_code, 1)
        raise error
    return finished


def _heading(command: str, finished: Finished) -> str:
    if finished.exit_code >= 0:
        return f"polydistill {command} failed with exit code {finished.exit_code}:"
    name = signal.Signals(-finished.exit_code).name
    said = " Last lines of this command:" if finished.lines else ""
    return f"polydistill {command} was killed by {name}. The next run resumes from there.{said}"
