from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from polydistill.integrations.mlflow.store import connected
from tests.published_project import make_evaluated_project


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database without a run, which takes seconds to make."""
    root = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with connected(root) as client:
            client.search_experiments(max_results=1)
    return root / "mlruns" / "mlflow.db"


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def evaluated(tmp_path: Path, empty_database: Path) -> Path:
    """A project folder as `dvc repro` leaves it, with an empty tracking store."""
    root = make_evaluated_project(tmp_path / "project")
    (root / "mlruns").mkdir()
    shutil.copy(empty_database, root / "mlruns" / "mlflow.db")
    return root
