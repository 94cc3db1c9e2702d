from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.embeddings.extraction import needed_bytes
from polydistill.errors import DataError
from polydistill.stages.estimate import Hardware, StageCost, estimate, summed
from tests.distill_project import TEACHERS, make_distill_project, small_params

EMBED = StageCost("embed@text-a", (60.0, 0.0), 0.01, (0, 100), (1e9, 8), "100 rows/s")
VALIDATE = StageCost("validate", (0.0, 0.001), 0, (0, 0), (1e9, 80), "1,000 rows/s")


def test_shared_work_is_divided_and_the_start_is_counted_once() -> None:
    one = EMBED.scaled(10**6, Hardware(usd_per_hour=3.6))
    many = EMBED.scaled(10**6, Hardware(gpus=4, speedup=2.5, usd_per_hour=3.6))

    assert (one.seconds, many.seconds) == (60 + 10_000, 60 + 1_000)
    assert one.usd == pytest.approx(10.06)
    assert many.usd == pytest.approx(1.06 * 4)
    assert one.disk_bytes == many.disk_bytes == 10**8
    assert one.memory_bytes == 10**9 + 8 * 10**6


def test_work_that_no_device_shares_costs_none_and_becomes_the_bottleneck() -> None:
    hardware = Hardware(gpus=64, usd_per_hour=2)
    stages = [cost.scaled(10**9, hardware) for cost in (VALIDATE, EMBED)]

    found = summed(stages, 10**9, hardware, "cpu")

    assert stages[0].usd == 0
    assert found.bottleneck == "validate, 86% of the time"
    assert found.seconds == stages[0].seconds + stages[1].seconds


def test_a_project_is_measured_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_distill_project(tmp_path, rows=600)
    tree = small_params(rows=600).of_modality("text")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**tree, "modalities": ["text"]}))
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    result = CliRunner().invoke(
        app, ["estimate", "text", "--rows", "1e9", "--gpus", "64", "--json"]
    )

    assert result.exit_code == 0, result.output
    found = json.loads(result.output.splitlines()[-1])
    assert [one["stage"] for one in found["stages"]] == [
        "validate", *(f"embed@text-{name}" for name in TEACHERS), "distill@text",
    ]  # fmt: skip
    assert (found["rows"], found["gpus"], found["device"]) == (10**9, 64, "cpu")
    assert all(one["seconds"] > 0 and one["memory_bytes"] > 10**8 for one in found["stages"])
    dim = next(iter(TEACHERS.values()))
    assert found["stages"][1]["disk_bytes"] == pytest.approx(
        needed_bytes(10**9, dim, "float16"), rel=1e-3
    )
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_corpus_that_is_too_small_to_measure_is_refused(tmp_path: Path) -> None:
    make_distill_project(tmp_path, rows=240)

    with pytest.raises(DataError, match="has 240 rows: an estimate needs 256"):
        estimate(tmp_path, small_params(), "text")
