from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.servers import Services, all_services
from tests.services.live_project import REPOSITORY, Shell, make_live_project

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
