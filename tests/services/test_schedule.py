"""Deployments, schedules, events and a worker, on a Prefect server with PostgreSQL."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.services.live_project import LIMIT_S, Shell

pytestmark = pytest.mark.services
RETRAIN = "retrain/retrain-text"
EVENT_S = 60.0
TRIGGERED_BY = "AUTOMATION"


class Api:
    """Prefect's, asked as its own client does."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, path: str, question: Mapping[str, object] | None = None) -> Any:
        """Return the answer to a GET, or to a POST with a question."""
        body = None if question is None else json.dumps(question).encode()
        request = Request(f"{self._url}/{path}", body, {"Content-Type": "application/json"})  # noqa: S310 - ours
        with urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def deployment(self, name: str = RETRAIN) -> Any:
        """Return a deployment."""
        return self.ask(f"deployments/name/{name}")

    def schedule(self, slug: str, name: str = RETRAIN) -> Any:
        """Return one of its schedules."""
        return next(one for one in self.deployment(name)["schedules"] if one["slug"] == slug)

    def runs(self, name: str = RETRAIN, *, scheduled: bool) -> list[Any]:
        """Return its runs: those that a schedule has made, or the others."""
        there = {"deployments": {"id": {"any_": [self.deployment(name)["id"]]}}}
        found = self.ask("flow_runs/filter", there)
        return [run for run in found if run["auto_scheduled"] == scheduled]


def until(found: Callable[[], Any], within_s: float) -> Any:
    """Return the first answer that is true.

    Raises:
        TimeoutError: There was none.
    """
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(1)
    raise TimeoutError(f"Nothing in {within_s:g} s.")


@contextmanager
def worker(shell: Shell, folder: Path) -> Iterator[None]:
    """Run a worker as a service manager would: the default handlers, and SIGINT at the end."""
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
    """The server, with what `prefect.yaml` deploys; the watcher's schedule is paused, a test looks itself."""
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
    """The run that an event about new data has made, which no worker has taken yet."""
    shell.run(project, sys.executable, "-m", "flows.watch", "text")
    found: list[Any] = until(lambda: api.runs(scheduled=False), EVENT_S)
    return found[0]


def set_schedule(shell: Shell, project: Path, action: str, name: str, schedule: Any) -> None:
    shell.run(project, "prefect", "deployment", "schedule", action, name, str(schedule["id"]))


def test_prefect_yaml_deploys_what_the_guide_says(api: Api) -> None:
    deployment = api.deployment()

    assert deployment["work_pool_name"] == "polydistill"
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert {one["slug"]: one["active"] for one in deployment["schedules"]} == {
        "nightly": True,
        "every-six-hours": False,
    }
    assert api.schedule("nightly")["schedule"]["timezone"] == "Europe/Berlin"


def test_a_paused_schedule_has_no_runs_to_come_and_a_resumed_one_has(
    shell: Shell, project: Path, api: Api
) -> None:
    until(lambda: api.runs(scheduled=True), EVENT_S)

    set_schedule(shell, project, "pause", RETRAIN, api.schedule("nightly"))
    paused = api.schedule("nightly")["active"], api.runs(scheduled=True)
    set_schedule(shell, project, "resume", RETRAIN, api.schedule("nightly"))

    assert paused == (False, [])
    assert api.schedule("nightly")["active"]
    assert until(lambda: api.runs(scheduled=True), EVENT_S)


def test_new_data_make_a_run_of_the_deployment_within_a_minute(triggered: Any) -> None:
    assert triggered["created_by"]["type"] == TRIGGERED_BY
    assert triggered["parameters"] == {"modality": "text", "wait_s": 3600}


def test_a_worker_executes_the_run_that_waits_for_one(
    shell: Shell, project: Path, api: Api, triggered: Any
) -> None:
    def ended() -> Any:
        run = api.ask(f"flow_runs/{triggered['id']}")
        return run if run["end_time"] else None

    with worker(shell, project):
        run = until(ended, LIMIT_S)

    # Nothing is stale, and a rollback has taken version 2 back: the gate need not be asked again.
    assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "Unchanged")
    assert "version 2 was refused" in run["state"]["message"]
