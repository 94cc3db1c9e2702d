"""A schedule retrains in a workspace, and does not change the project."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.processes import HOST, answers, free_port, running
from tests.services.conftest import POINTERS
from tests.services.live_project import LIMIT_S, REPOSITORY, Shell, make_live_project, write_data
from tests.services.nights import history
from tests.services.prefect_api import RETRAIN, Api, until


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell whose environment points to no service yet."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(POINTERS)}
    return Shell(
        {
            **ours,
            "DVC_SITE_CACHE_DIR": str(tmp_path / "dvc"),
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_API_URL": f"http://{HOST}:{free_port()}/api",
            "PYTHONPATH": str(REPOSITORY / "src"),
        }
    )


@contextmanager
def prefect_server(shell: Shell, folder: Path) -> Iterator[Api]:
    url = shell.environment["PREFECT_API_URL"]
    port = url.removeprefix(f"http://{HOST}:").removesuffix("/api")
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", port]
    with running(
        command,
        log=folder / "prefect.log",
        ready=answers(int(port), "api/health"),
        env=shell.environment,
    ):
        yield Api(url)


@contextmanager
def served(shell: Shell, api: Api, workspace: Path) -> Iterator[None]:
    """Serve the deployment from the workspace until the end of the block, as a service manager does."""

    def there() -> bool:
        return bool(api.ask("deployments/count", {}))

    paths = (str(workspace), str(workspace / "src"))
    environment = {**shell.environment, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "flows.deployments", "text", "--interval-s", "60"]
    log = workspace / "serve.log"  # the process runs in the folder of its log
    with running(command, log=log, ready=there, env=environment):
        yield


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S)
def test_a_schedule_retrains_in_the_workspace_and_keeps_the_project_clean(
    shell: Shell, tmp_path: Path
) -> None:
    project = make_live_project(tmp_path / "project", shell, str(tmp_path / "remote"), None)
    before = (project / "data.dvc").read_bytes()
    shell.polydistill(project, "workspace", "nightly")
    workspace = project / ".polydistill" / "workspaces" / "nightly"
    shell.run(workspace, "dvc", "pull", "--quiet", "data.dvc")
    write_data(workspace, seed=1)
    shell.run(workspace, "dvc", "add", "--quiet", "data")

    with prefect_server(shell, tmp_path) as api, served(shell, api, workspace):

        def ended() -> Any:
            return [run for run in api.runs(RETRAIN, scheduled=True) if run["end_time"]]

        first = until(ended, LIMIT_S)[-1]

    assert (first["state"]["type"], first["state"]["name"]) == ("COMPLETED", "Promoted")
    assert (project / "data.dvc").read_bytes() == before != (workspace / "data.dvc").read_bytes()
    assert history(shell, workspace)["aliases"] == {"challenger": 1, "champion": 1}
    assert shell.run(workspace, "dvc", "status", "--json").text.strip() == "{}"
    assert shell.run(project, "git", "status", "--porcelain").text == ""
    assert not any((project / made).exists() for made in ("artifacts", "mlruns", "dvc.lock"))
