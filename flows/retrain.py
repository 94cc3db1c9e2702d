"""Sync data, pipeline, publish, gate, promote, report: what a schedule runs.

Run it in a project folder: `python -m flows.retrain text`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import commands
from flows.approval import ask_person
from flows.lateness import lateness
from flows.notices import tell
from flows.pipeline import pipeline
from flows.server import present, require_answer
from polydistill.config.environment import exit_on_sigterm
from polydistill.config.operations import RetrainParams, RetrainPolicy
from polydistill.config.params import load_params
from polydistill.errors import PolydistillError
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.dvc.stages import DataState
from polydistill.integrations.processes import stopped_on_failure
from polydistill.project.layout import Layout
from polydistill.project.lock import project_lock
from polydistill.project.scheduling import Plan, reason_to_skip

ROOT = Path()
STATES = {"promoted": "Promoted", "refused": "Refused", "unchanged": "Completed"}
NOT_RUN = {"unchanged": "Unchanged", "waiting": "Waiting"}


@task(name="sync-data", cache_policy=NO_CACHE)
def sync_data() -> DataState:
    """Make `data/` what `data.dvc` says; edits that nothing has saved stay, and the run uses them."""
    state = dvc.sync_data(ROOT)
    if state == "edited":
        typer.echo("data/ is not what data.dvc says: this run uses it; `dvc add data` keeps it.")
    return state


@task(name="plan", cache_policy=NO_CACHE)
def make_plan(modality: str, policy: RetrainPolicy | None) -> Plan:
    """Ask whether there is anything to do."""
    options = () if policy is None else ("--policy", policy)
    plan = Plan(**commands.ask("plan", modality, *options))
    typer.echo(plan.reason)
    return plan


@task(cache_policy=NO_CACHE)
def publish(modality: str) -> None:
    """Register the student as challenger, once."""
    commands.call("publish", modality)


@task(cache_policy=NO_CACHE)
def promote(modality: str, *, dry_run: bool = False, expect: int | None = None) -> dict[str, Any]:
    """Let the gate judge the challenger, and make it champion if it passes; return the verdict."""
    verdict = commands.judge(modality, dry_run=dry_run, expect=expect)
    typer.echo(verdict["reason"])
    return verdict


@task(cache_policy=NO_CACHE)
def reject(modality: str, by: str, reason: str) -> dict[str, Any]:
    """Refuse the challenger in a person's name; return the verdict."""
    return commands.ask("reject", modality, "--by", by, "--reason", reason)


@task(cache_policy=NO_CACHE)
def report(modality: str) -> None:
    """Draw the report."""
    commands.call("report", modality)


@flow(name="retrain", on_completion=[tell], on_failure=[tell], on_crashed=[tell])
def retrain(modality: str, policy: RetrainPolicy | None = None, wait_s: float = 0.0) -> State[str]:
    """Do the whole main job; a run without work, or a refused challenger, is completed, and its state says so.

    Args:
        modality: A block of `params.yaml`.
        policy: In place of the one in `params.yaml`.
        wait_s: So long we wait for another run in this folder to end.
    """
    params = load_params(ROOT).modality(modality).retrain
    layout, late = Layout(ROOT, modality), lateness()
    if late is not None and (reason := reason_to_skip(params, late)):
        return ended(modality, "Skipped", reason)
    with project_lock(layout.run_lock, f"retrain {modality}", wait_s=wait_s), stopped_on_failure():
        sync_data()
        plan = make_plan(modality, policy)
        if plan.action == "run":
            pipeline(modality)
            publish(modality)
            state, reason = move_aliases(modality, params)
        else:
            state, reason = NOT_RUN[plan.action], plan.reason
        if plan.action == "run" or not layout.page.exists():
            report(modality)
        else:
            typer.echo(f"Report: {layout.page}")
    return ended(modality, state, reason)


def move_aliases(modality: str, params: RetrainParams) -> tuple[str, str]:
    """Promote or refuse the challenger, and ask a person first where the policy says so."""
    approved: int | None = None
    if params.approval == "manual":
        seen = promote(modality, dry_run=True)
        if seen["outcome"] == "promoted":
            answer = ask_person(seen["reason"], params.approval_timeout_s)
            if answer is None:
                reason = f"Nobody answered in {params.approval_timeout_s} s: the champion stays."
                return "Unanswered", reason
            if not answer.approve:
                said = reject(modality, answer.by, answer.reason or "no reason given")
                return "Refused", said["reason"]
            approved = seen["challenger"]
    verdict = promote(modality, expect=approved)
    return STATES[verdict["outcome"]], verdict["reason"]


def ended(modality: str, name: str, reason: str) -> State[str]:
    """Return how a run has ended, and keep it beside the flow run."""
    create_markdown_artifact(key=f"outcome-{modality}", markdown=f"**{name}.** {reason}")
    return Completed(name=name, message=reason, data=name)


def main(modality: Annotated[str, typer.Argument(help="A block of params.yaml: text.")]) -> None:
    """Run the flow, with the server of PREFECT_API_URL or a temporary one; a person's run has no policy."""
    exit_on_sigterm()
    try:
        require_answer()
        with project_lock(Layout(ROOT, modality).run_lock, "a start"):
            pass  # say at once, and not after a server's start, that another run is at work
        with present():
            retrain(modality, policy="always")
    except PolydistillError as error:
        typer.secho(f"{type(error).__name__}: {error}", err=True, fg=typer.colors.RED)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    typer.run(main)
