"""Our own commands, as the flows call them: in processes of their own, their answers as JSON."""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path
from typing import Any

from polydistill.errors import GateRefusedError, StageError
from polydistill.integrations.processes import Finished, run_command

ROOT = Path()
COMMAND = ("polydistill",)
COMMAND_TIMEOUT_S = 3600.0
SHOWN_LINES = 24


def call(*words: str) -> None:
    """Run a command of ours, and pass on what it says.

    Raises:
        StageError: It failed; the message has its last lines.
    """
    _run(words, hidden=())


def ask(*words: str, answers: Container[int] = (0,)) -> dict[str, Any]:
    """Run a command of ours with `--json`, and return the object that it ends with.

    Args:
        words: Command and arguments.
        answers: Exit codes that come with an answer.

    Raises:
        StageError: It failed; the message has its last lines.
    """
    finished = _run([*words, "--json"], hidden=None, answers=answers)
    objects = [line for line in finished.lines if line.startswith("{")]
    if not objects:
        raise StageError(f"`polydistill {' '.join(words)}` answered no JSON object.")
    answer: dict[str, Any] = json.loads(objects[-1])
    return answer


def judge(modality: str, *, dry_run: bool) -> dict[str, Any]:
    """Return the gate's verdict on the challenger; a refusal is a verdict, too."""
    options = ("--dry-run",) if dry_run else ()
    return ask("promote", modality, *options, answers=(0, GateRefusedError.exit_code))


def _run(
    words: tuple[str, ...] | list[str],
    *,
    hidden: Container[str] | None,
    answers: Container[int] = (0,),
) -> Finished:
    finished = run_command([*COMMAND, *words], ROOT, timeout_s=COMMAND_TIMEOUT_S, hidden=hidden)
    if finished.exit_code not in answers:
        heading = f"polydistill {words[0]} failed with exit code {finished.exit_code}:"
        error = StageError("\n".join([heading, *finished.lines[-SHOWN_LINES:]]))
        error.exit_code = max(finished.exit_code, 1)
        raise error
    return finished
