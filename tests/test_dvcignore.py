from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_dvc_ignores_the_files_that_mlflow_stores() -> None:
    ignored = (ROOT / ".dvcignore").read_text(encoding="utf-8").split()

    # A published version contains its dvc.yaml, which DVC would otherwise read as part of the project.
    assert "mlruns" in ignored
    assert ".polydistill" in ignored
