"""Each fixture is the next thing that happens to a model on real servers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.processes import HOST, free_port
from services.servers import Services, all_services
from tests.services.live_project import (
    REPOSITORY,
    Said,
    Shell,
    make_live_project,
    save_data,
    write_data,
)
from tests.services.nights import Night, files_of, history, look

POINTERS = ("AWS_", "MLFLOW_", "PREFECT_")
"""Variables of a user's own services, which a test must not reach."""


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """PostgreSQL, S3, MLflow with users and Prefect, started once."""
    with all_services() as running:
        yield running


@pytest.fixture(scope="session")
def shell(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Commands that know the services."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(POINTERS)}
    sources = os.pathsep.join(filter(None, [str(REPOSITORY / "src"), ours.get("PYTHONPATH")]))
    return Shell(
        {
            **ours,
            **services.environment,
            "AWS_EC2_METADATA_DISABLED": "true",
            "DVC_SITE_CACHE_DIR": str(tmp_path_factory.mktemp("dvc")),
            "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect")),
            "PYTHONPATH": sources,
        }
    )


@pytest.fixture(scope="session")
def project(services: Services, shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, its data on S3."""
    folder = tmp_path_factory.mktemp("life") / "project"
    endpoint = services.environment["AWS_ENDPOINT_URL"]
    return make_live_project(folder, shell, services.remote, endpoint)


@pytest.fixture(scope="session")
def first_night(shell: Shell, project: Path) -> Night:
    """A run where nothing has been before."""
    return look(shell, project, shell.retrain(project))


@pytest.fixture(scope="session")
def server_away(shell: Shell, project: Path, first_night: Night) -> tuple[Said, bool, str]:
    """New data, and a run that does not find MLflow: what it said, whether it touched nothing, and where it looked."""
    write_data(project, seed=1)
    save_data(project, shell)
    before, nowhere = files_of(project), f"http://{HOST}:{free_port()}"
    said = shell.retrain(project, code=5, MLFLOW_TRACKING_URI=nowhere)
    return said, files_of(project) == before, nowhere


@pytest.fixture(scope="session")
def second_night(shell: Shell, project: Path, server_away: object) -> Night:
    """The run after that, with the server back."""
    return look(shell, project, shell.retrain(project))


@pytest.fixture(scope="session")
def rolled_back(shell: Shell, project: Path, second_night: Night) -> dict[str, Any]:
    """The history after a rollback."""
    shell.polydistill(project, "rollback", "text", "--reason", "slow on long texts")
    return history(shell, project)
