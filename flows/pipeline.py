"""The DVC pipeline as a flow: one task per stage, in graph order, the teachers in parallel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from polydistill.errors import InfrastructureError
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.dvc.stages import StageState
from polydistill.integrations.processes import stopped_on_failure

ROOT = Path()
RETRY_DELAY_S = 10


def is_infrastructure_error(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return whether a lock or a signal stopped a task, in which case a retry may succeed."""
    return isinstance(state.result(raise_on_failure=False), InfrastructureError)


@task(
    task_run_name="{stage}",
    retries=2,
    retry_delay_seconds=RETRY_DELAY_S,
    retry_condition_fn=is_infrastructure_error,
    cache_policy=NO_CACHE,
)
def reproduce(stage: str) -> StageState:
    """Bring one DVC stage up to date; return whether it ran, was restored, or was unchanged."""
    return dvc.reproduce(ROOT, stage)


@flow(name="pipeline", task_runner=ThreadPoolTaskRunner(max_workers=2))  # type: ignore[arg-type]
def pipeline(modality: str) -> list[StageState]:
    """Validate, embed with all teachers in parallel, distill, evaluate.

    If the stage of a teacher fails, the stages of the other teachers still run, and their embeddings are kept. Later
    stages do not run.
    """
    states: list[StageState] = []
    try:
        with stopped_on_failure():
            for group in dvc.stage_groups(ROOT, modality):
                futures = reproduce.map(group)
                wait(list(futures))
                states += futures.result()
    finally:
        record(modality, states)
    return states


def record(modality: str, states: Sequence[StageState]) -> None:
    """Store the state and duration of each stage as a table artifact of the flow run."""
    create_table_artifact(
        key=f"stages-{modality}",
        table=[asdict(state) for state in states],
        description=f"Stages of {modality}: ran, restored from DVC's cache, or unchanged.",
    )
