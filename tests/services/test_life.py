"""The life of a model on real servers: publish, promote, pull, roll back and load."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pytest

from polydistill.students import encode, load_student
from services.servers import BUCKET, Services
from tests.services.live_project import Output, Shell, commit
from tests.services.nights import TEXTS, Night, history

pytestmark = pytest.mark.services
MODEL = "models:/student-text@champion"
LOAD = """\
import json, sys
import mlflow.pyfunc
rows = mlflow.pyfunc.load_model(sys.argv[1]).predict(json.loads(sys.argv[2]))
print("ANSWER", json.dumps([[float(value) for value in row] for row in rows]))
"""


def on_s3(services: Services) -> list[str]:
    """Return the keys in the bucket."""
    there = services.environment
    client = boto3.client(
        "s3",
        endpoint_url=there["AWS_ENDPOINT_URL"],
        aws_access_key_id=there["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=there["AWS_SECRET_ACCESS_KEY"],
        region_name=there["AWS_DEFAULT_REGION"],
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return [str(one["Key"]) for page in pages for one in page.get("Contents", [])]


def clone(shell: Shell, project: Path, target: Path) -> Path:
    shell.run(project, "git", "clone", "--quiet", str(project), str(target))
    return target


def test_another_clone_pulls_the_data_from_s3(
    services: Services, shell: Shell, project: Path, tmp_path: Path
) -> None:
    other = clone(shell, project, tmp_path / "other")

    shell.run(other, "dvc", "pull", "data.dvc")  # the address is in AWS_ENDPOINT_URL

    path = "data/text/corpus.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(other / path), pd.read_parquet(project / path))
    assert any(key.startswith("dvc/files/md5/") for key in on_s3(services))


def test_the_first_run_makes_a_champion_whose_files_are_on_s3(
    services: Services, project: Path, first_night: Night
) -> None:
    keys = [key for key in on_s3(services) if key.startswith("mlflow/")]

    assert first_night.aliases == {"challenger": 1, "champion": 1}
    assert first_night.actions == ["first", "challenge", "promote"]
    assert any(key.endswith("artifacts/student/model.safetensors") for key in keys)
    assert not (project / "mlruns" / "mlflow.db").exists()
    assert not (project / "mlruns" / "artifacts").exists()


def test_another_clone_pulls_every_stage_and_runs_none(
    shell: Shell, project: Path, first_night: Night, tmp_path: Path
) -> None:
    shell.run(project, "dvc", "push")
    commit(project, shell, "Keep the first night's results")
    other = clone(shell, project, tmp_path / "other")

    shell.run(other, "dvc", "pull")

    assert json.loads(shell.run(other, "dvc", "status", "--json").text) == {}
    np.testing.assert_array_equal(
        encode(load_student(other / "artifacts/text/student"), TEXTS), first_night.answers
    )


def test_a_wrong_password_is_an_error_that_names_the_server_and_the_variables(
    services: Services, shell: Shell, project: Path, first_night: Night
) -> None:
    wrong = "not-the-password"

    output = shell.polydistill(
        project, "history", "student-text", code=5, MLFLOW_TRACKING_PASSWORD=wrong
    )

    assert services.environment["MLFLOW_TRACKING_URI"] in output.text
    assert "MLFLOW_TRACKING_PASSWORD" in output.text
    assert wrong not in output.text
    assert len(output.text.splitlines()) < 6, output.text


def test_without_the_server_nothing_changes_and_the_error_names_its_address(
    server_away: tuple[Output, bool, str],
) -> None:
    output, untouched, where = server_away

    assert untouched
    assert f"The tracking store {where} failed" in output.text
    assert "Start that server" in output.text
    assert "Traceback" not in output.text


def test_the_next_run_makes_the_second_version_champion(
    first_night: Night, second_night: Night
) -> None:
    assert second_night.aliases == {"challenger": 2, "champion": 2, "previous": 1}, (
        second_night.output
    )
    assert second_night.actions == ["first", *["challenge", "promote"] * 2]
    assert not np.allclose(second_night.answers, first_night.answers)


def test_a_rollback_restores_the_first_version_and_is_in_the_history(
    rolled_back: dict[str, Any],
) -> None:
    *_, last = rolled_back["entries"]

    assert rolled_back["aliases"] == {"challenger": 2, "champion": 1, "previous": 2}
    assert (len(rolled_back["entries"]), last["action"]) == (6, "rollback")
    assert "slow on long texts" in last["reason"]


def test_a_fresh_folder_reads_the_ledger_from_the_server(
    shell: Shell, project: Path, rolled_back: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copy(project / "params.yaml", tmp_path)
    file = "mlruns/exports/student-text.ledger.jsonl"

    reported = history(shell, tmp_path)

    assert reported["entries"] == rolled_back["entries"]
    assert (tmp_path / file).read_bytes() == (project / file).read_bytes()


def test_mlflow_alone_can_load_the_champion_from_s3(
    shell: Shell, first_night: Night, rolled_back: object, tmp_path: Path
) -> None:
    words = (sys.executable, "-P", "-c", LOAD, MODEL, json.dumps(TEXTS))

    output = shell.run(tmp_path, *words, PYTHONPATH=None)

    lines = [line for line in output.text.splitlines() if line.startswith("ANSWER ")]
    answers = np.array(json.loads(lines[-1].removeprefix("ANSWER ")))
    np.testing.assert_allclose(answers, first_night.answers, rtol=1e-6)
