"""Sync data, pipeline, publish, gate, promote, report: what a schedule runs.

Run it in a project folder: `python -m flows.retrain text`.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

import typer
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.pipeline import pipeline
from polydistill.errors import GateRefusedError, PolydistillError, StageError
from polydistill.integrations import dvc
from polydistill.integrations.dvc import DataState
from polydistill.integrations.processes import run_command, stopped_on_failure

ROOT = Path()
COMMAND = ("polydistill",)
COMMAND_TIMEOUT_S = 3600.0
SHOWN_LINES = 24
Gate = Literal["passed", "refused"]


@task(name="sync-data", cache_policy=NO_CACHE)
def sync_data() -> DataState:
    """Make `data/` what `data.dvc` says; edits that nothing has saved stay, and the run uses them."""
    state = dvc.sync_data(ROOT)
    if state == "edited":
        typer.echo("data/ is not what data.dvc says: this run uses it; `dvc add data` keeps it.")
    return state


@task(cache_policy=NO_CACHE)
def publish(modality: str) -> None:
    """Register the student as challenger, once."""
    call("publish", modality)


@task(cache_policy=NO_CACHE)
def promote(modality: str) -> Gate:
    """Let the gate judge the challenger, and make it champion if it passes."""
    try:
        call("promote", modality)
    except GateRefusedError:
        return "refused"
    return "passed"


@task(cache_policy=NO_CACHE)
def report(modality: str) -> None:
    """Draw the report."""
    call("report", modality)


@flow(name="retrain")
def retrain(modality: str) -> State[Gate]:
    """Do the whole main job; a refused challenger is a completed run, and its state says so."""
    with stopped_on_failure():
        sync_data()
        pipeline(modality)
        publish(modality)
        gate = promote(modality)
        report(modality)
    if gate == "refused":
        message = "The gate refused the challenger; the champion stays."
        return Completed(name="Refused", message=message, data=gate)
    return Completed(data=gate)


def call(command: str, modality: str) -> None:
    """Run a command of ours.

    Raises:
        GateRefusedError: It says that the gate refused the challenger.
        StageError: It failed otherwise; the message has its last lines.
    """
    finished = run_command([*COMMAND, command, modality], ROOT, timeout_s=COMMAND_TIMEOUT_S)
    if finished.exit_code == GateRefusedError.exit_code:
        raise GateRefusedError("\n".join(finished.lines[-SHOWN_LINES:]))
    if finished.exit_code:
        heading = f"polydistill {command} failed with exit code {finished.exit_code}:"
        error = StageError("\n".join([heading, *finished.lines[-SHOWN_LINES:]]))
        error.exit_code = max(finished.exit_code, 1)
        raise error


def main(modality: Annotated[str, typer.Argument(help="A block of params.yaml: text.")]) -> None:
    """Run the flow, with the server of PREFECT_API_URL or a temporary one."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        retrain(modality)
    except PolydistillError as error:
        typer.secho(f"{type(error).__name__}: {error}", err=True, fg=typer.colors.RED)
        sys.exit(error.exit_code)


def _leave(number: int, _frame: FrameType | None) -> Any:
    """Turn a signal into an exit, so that the commands we started are stopped."""
    sys.exit(128 + number)


if __name__ == "__main__":
    typer.run(main)
