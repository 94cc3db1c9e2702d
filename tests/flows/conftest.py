from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.toy_project import SHORT, make_toy_project


@pytest.fixture(scope="session", autouse=True)
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One temporary Prefect server for all flow tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        import_module("flows")  # sets the environment, which Prefect reads on import
        harness = import_module("prefect.testing.utilities").prefect_test_harness
        with harness(server_startup_timeout=120):
            yield


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A toy project, which is the working directory of the test."""
    folder = make_toy_project(tmp_path / "project", SHORT)
    monkeypatch.chdir(folder)
    return folder
