from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.toy_project import SHORT, make_toy_project


@pytest.fixture(scope="session", autouse=True)
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One temporary server for all flow tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        import_module("flows")  # makes Prefect's settings, which are read when it is imported
        harness = import_module("prefect.testing.utilities").prefect_test_harness
        with harness(server_startup_timeout=120):
            yield


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A toy project, in which the test stands."""
    folder = make_toy_project(tmp_path / "project", SHORT)
    monkeypatch.chdir(folder)
    return folder
