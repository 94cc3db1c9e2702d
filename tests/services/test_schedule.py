"""Deployments, schedules, events and a worker, on a Prefect server with PostgreSQL."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.services.live_project import LIMIT_S, Shell
from tests.services.prefect_api import RETRAIN, Api, until

pytestmark = pytest.mark.services
EVENT_S = 60.0
TRIGGERED_BY = "AUTOMATION"


@contextmanager
def worker(shell: Shell, folder: Path) -> Iterator[None]:
    """Run a worker as a service manager does: with default signal handlers, and SIGINT at the end."""
    log = folder.with_name("worker.log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", "polydistill"],
            cwd=folder,
            env=dict(shell.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - a test's only thread
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            shell.transcript.append(f"$ prefect worker start\n{log.read_text(errors='replace')}")


@pytest.fixture(scope="session")
def api(shell: Shell, project: Path) -> Api:
    """The server with the deployments of `prefect.yaml`. The schedule of the watcher is paused: tests run it."""
    api = Api(shell.environment["PREFECT_API_URL"])
    shell.run(project, "prefect", "work-pool", "create", "polydistill", "--type", "process")
    shell.run(project, "prefect", "deploy", "--all")
    set_schedule(
        shell,
        project,
        "pause",
        "watch/watch-text",
        api.schedule("every-ten-minutes", "watch/watch-text"),
    )
    return api


@pytest.fixture(scope="session")
def triggered(shell: Shell, project: Path, api: Api, rolled_back: object) -> Any:
    """The run that an event about new data has created, before a worker executes it."""
    shell.run(project, sys.executable, "-m", "flows.watch", "text")
    found: list[Any] = until(lambda: api.runs(scheduled=False), EVENT_S)
    return found[0]


def set_schedule(shell: Shell, project: Path, action: str, name: str, schedule: Any) -> None:
    shell.run(project, "prefect", "deployment", "schedule", action, name, str(schedule["id"]))


def test_prefect_yaml_deploys_the_documented_schedules(api: Api) -> None:
    deployment = api.deployment()

    assert deployment["work_pool_name"] == "polydistill"
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert {one["slug"]: one["active"] for one in deployment["schedules"]} == {
        "nightly": True,
        "every-six-hours": False,
    }
    assert api.schedule("nightly")["schedule"]["timezone"] == "Europe/Berlin"


def test_a_paused_schedule_has_no_upcoming_runs_and_a_resumed_one_has(
    shell: Shell, project: Path, api: Api
) -> None:
    until(lambda: api.runs(scheduled=True), EVENT_S)

    set_schedule(shell, project, "pause", RETRAIN, api.schedule("nightly"))
    paused = api.schedule("nightly")["active"], api.runs(scheduled=True)
    set_schedule(shell, project, "resume", RETRAIN, api.schedule("nightly"))

    assert paused == (False, [])
    assert api.schedule("nightly")["active"]
    assert until(lambda: api.runs(scheduled=True), EVENT_S)


def test_new_data_start_a_run_of_the_deployment_within_a_minute(triggered: Any) -> None:
    assert triggered["created_by"]["type"] == TRIGGERED_BY
    assert triggered["parameters"] == {"modality": "text", "wait_s": 3600}


def test_a_worker_executes_the_triggered_run(
    shell: Shell, project: Path, api: Api, triggered: Any
) -> None:
    def ended() -> Any:
        run = api.ask(f"flow_runs/{triggered['id']}")
        return run if run["end_time"] else None

    with worker(shell, project):
        run = until(ended, LIMIT_S)

    # Nothing is stale, and version 2 was rolled back, so the gate is not applied again.
    assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "Unchanged")
    assert "version 2 was refused" in run["state"]["message"]
