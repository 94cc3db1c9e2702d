from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_dvc_does_not_look_for_stages_in_what_mlflow_keeps() -> None:
    ignored = (ROOT / ".dvcignore").read_text(encoding="utf-8").split()

    # A published version carries its dvc.yaml: DVC would take it for one of the project's.
    assert "mlruns" in ignored
    assert ".polydistill" in ignored
