"""The output of the commands and servers of all tests in this folder contains no secret. This file runs last."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.servers import Services
from tests.services.live_project import Shell

pytestmark = pytest.mark.services
SECRET = ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD")


def test_no_output_and_no_file_contains_a_secret(
    services: Services, shell: Shell, project: Path, rolled_back: object
) -> None:
    secrets = [services.environment[name] for name in SECRET]
    secrets.append(services.postgres.partition("@")[0].rpartition(":")[2])
    logs = list(services.folder.glob("*.log"))
    written = [
        file
        for name in ("reports", "mlruns", ".polydistill", ".dvc", "dvc.lock", "params.yaml")
        for file in [project / name, *(project / name).rglob("*")]
        if file.is_file()
    ]

    texts = {str(place): place.read_bytes().decode(errors="replace") for place in [*logs, *written]}
    texts["the output of the commands"] = "\n".join(shell.transcript)

    assert len(logs) == 4
    assert "flows.retrain" in texts["the output of the commands"]
    assert all(len(secret) > 12 for secret in secrets)
    assert [place for place, text in texts.items() for secret in secrets if secret in text] == []
