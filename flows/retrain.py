"""The scheduled flow: check out the data, run the pipeline, publish, apply the gate, promote, report.

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
from flows.lateness import current_lateness, reason_to_skip
from flows.notices import send_notice
from flows.pipeline import pipeline
from flows.server import lost_server_explained, require_reachable_api
from polydistill.config.environment import exit_on_sigterm
from polydistill.config.operations import RetrainParams, RetrainPolicy
from polydistill.config.params import load_params
from polydistill.errors import GateRefusedError, PolydistillError
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.dvc.stages import DataState
from polydistill.integrations.planning import Plan
from polydistill.integrations.processes import stopped_on_failure
from polydistill.project.layout import Layout
from polydistill.project.lock import project_lock

ROOT = Path()
STATES = {"promoted": "Promoted", "refused": "Refused", "unchanged": "Completed"}
NOT_RUN = {"unchanged": "Unchanged", "waiting": "Waiting"}


@task(name="sync-data", cache_policy=NO_CACHE)
def sync_data() -> DataState:
    """Check out the data that `data.dvc` names. Uncommitted edits stay, and the run uses them."""
    state = dvc.sync_data(ROOT)
    if state == "edited":
        typer.echo(
            "data/ differs from data.dvc. This run uses data/ as it is; `dvc add data` saves it."
        )
    return state


@task(name="plan", cache_policy=NO_CACHE)
def make_plan(modality: str, policy: RetrainPolicy | None) -> Plan:
    """Return the plan: whether there is work to do, and the reason."""
    options = () if policy is None else ("--policy", policy)
    plan = Plan(**commands.call_json("plan", modality, *options))
    typer.echo(plan.reason)
    return plan


@task(cache_policy=NO_CACHE)
def publish(modality: str) -> None:
    """Register the student as challenger, unless it is registered already."""
    commands.call("publish", modality)


@task(cache_policy=NO_CACHE)
def promote(modality: str, *, dry_run: bool = False, expect: int | None = None) -> dict[str, Any]:
    """Apply the gate to the challenger, make it champion if it passes, and return the verdict."""
    verdict = commands.judge(modality, dry_run=dry_run, expect=expect)
    typer.echo(verdict["reason"])
    return verdict


@task(cache_policy=NO_CACHE)
def reject(modality: str, by: str, reason: str) -> dict[str, Any]:
    """Refuse the challenger on behalf of a person and return the verdict."""
    return commands.call_json("reject", modality, "--by", by, "--reason", reason)


@task(cache_policy=NO_CACHE)
def report(modality: str) -> None:
    """Write the report."""
    commands.call("report", modality)


@flow(
    name="retrain", on_completion=[send_notice], on_failure=[send_notice], on_crashed=[send_notice]
)
def retrain(modality: str, policy: RetrainPolicy | None = None, wait_s: float = 0.0) -> State[str]:
    """Retrain a modality's student and promote it if it passes the gate.

    A run without work, or with a refused challenger, completes successfully. Its final state is named after the
    outcome.

    Args:
        modality: A block of `params.yaml`.
        policy: Overrides the policy in `params.yaml`.
        wait_s: How long to wait for another run in this folder, in seconds.
    """
    params = load_params(ROOT).modality(modality).retrain
    layout, late = Layout(ROOT, modality), current_lateness()
    if late is not None and (reason := reason_to_skip(params, late)):
        return completed(modality, "Skipped", reason)
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
    return completed(modality, state, reason)


def move_aliases(modality: str, params: RetrainParams) -> tuple[str, str]:
    """Promote or refuse the challenger; ask a person first if `approval` is `manual`."""
    approved: int | None = None
    if params.approval == "manual":
        verdict = promote(modality, dry_run=True)
        if verdict["outcome"] == "promoted":
            answer = ask_person(verdict["reason"], params.approval_timeout_s)
            if answer is None:
                reason = (
                    f"Nobody answered within {params.approval_timeout_s} s: the champion stays."
                )
                return "Unanswered", reason
            if not answer.approve:
                refused = reject(modality, answer.by, answer.reason or "no reason given")
                return "Refused", refused["reason"]
            approved = verdict["challenger"]
    verdict = promote(modality, expect=approved)
    return STATES[verdict["outcome"]], verdict["reason"]


def completed(modality: str, name: str, reason: str) -> State[str]:
    """Return the final state of a run, and store its reason as an artifact."""
    create_markdown_artifact(key=f"outcome-{modality}", markdown=f"**{name}.** {reason}")
    return Completed(name=name, message=reason, data=name)


def main(modality: Annotated[str, typer.Argument(help="A modality of params.yaml: text.")]) -> None:
    """Run the flow now, whatever the policy; exit 6 if the gate refuses. It uses PREFECT_API_URL or a temporary server."""
    exit_on_sigterm()
    try:
        require_reachable_api()
        with project_lock(Layout(ROOT, modality).run_lock, "a start"):
            pass  # fails at once if another run holds the lock, before a server is started
        with lost_server_explained():
            outcome: object = retrain(modality, policy="always")  # the data of its final state
        if outcome == STATES["refused"]:
            sys.exit(GateRefusedError.exit_code)
    except PolydistillError as error:
        typer.secho(f"{type(error).__name__}: {error}", err=True, fg=typer.colors.RED)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    typer.run(main)
