"""Fixtures on real servers. Each is the next step in the life of a model."""

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
    Output,
    Shell,
    make_live_project,
    save_data,
    write_data,
)
from tests.services.nights import Night, files_of, history, look

POINTERS = ("AWS_", "MLFLOW_", "PREFECT_")
"""Environment variables that point to a user's own services, which tests must not reach."""


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """PostgreSQL, S3, MLflow with users and Prefect, started once per session."""
    with all_services() as running:
        yield running


@pytest.fixture(scope="session")
def shell(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell whose environment points to the services."""
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
    """The project, with its data on S3."""
    folder = tmp_path_factory.mktemp("life") / "project"
    endpoint = services.environment["AWS_ENDPOINT_URL"]
    return make_live_project(folder, shell, services.remote, endpoint)


@pytest.fixture(scope="session")
def first_night(shell: Shell, project: Path) -> Night:
    """The first run of the project."""
    return look(shell, project, shell.retrain(project))


@pytest.fixture(scope="session")
def server_away(shell: Shell, project: Path, first_night: Night) -> tuple[Output, bool, str]:
    """A run on new data without the MLflow server: its output, whether all files are unchanged, and the address."""
    write_data(project, seed=1)
    save_data(project, shell)
    before, address = files_of(project), f"http://{HOST}:{free_port()}"
    output = shell.retrain(project, code=5, MLFLOW_TRACKING_URI=address)
    return output, files_of(project) == before, address


@pytest.fixture(scope="session")
def second_night(shell: Shell, project: Path, server_away: object) -> Night:
    """The next run, with the server."""
    return look(shell, project, shell.retrain(project))


@pytest.fixture(scope="session")
def rolled_back(shell: Shell, project: Path, second_night: Night) -> dict[str, Any]:
    """The history after a rollback."""
    shell.polydistill(project, "rollback", "text", "--reason", "slow on long texts")
    return history(shell, project)
