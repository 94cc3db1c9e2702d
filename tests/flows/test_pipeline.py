from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest
from prefect.artifacts import Artifact

from flows import pipeline as module
from flows.pipeline import pipeline
from polydistill.errors import StageError
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.processes import run_command
from tests.toy_project import SHORT, SHORT_STAGES, runs


def test_after_a_flow_dvc_repro_does_nothing_and_a_table_lists_the_stages(project: Path) -> None:
    states = pipeline("text")
    lock = (project / "dvc.lock").read_bytes()
    repro = run_command([*dvc.DVC, "repro"], project, timeout_s=60)

    table = cast("Artifact", Artifact.get("stages-text"))
    assert [(state.stage, state.state) for state in states] == [(s, "ran") for s in SHORT_STAGES]
    assert repro.exit_code == 0
    assert (project / "dvc.lock").read_bytes() == lock
    assert runs(project) == sorted(["validate", "minilm-l6", "glove-50d", "distill"])
    assert [row["stage"] for row in json.loads(str(table.data))] == SHORT_STAGES


def test_a_failed_teacher_stops_later_stages_but_not_the_other_teacher(project: Path) -> None:
    broken = SHORT.replace(
        "echo embedding with", "test ${item.teacher} = minilm-l6 || exit 3; echo embedding with"
    )
    (project / "dvc.yaml").write_text(broken)

    with pytest.raises(StageError, match="embed@text-glove-50d failed with exit code 3"):
        pipeline("text")

    assert runs(project) == sorted(["validate", "minilm-l6", "glove-50d"])
    assert (project / "artifacts" / "minilm-l6").exists()


def test_a_stage_that_was_killed_by_a_signal_is_retried(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = "      cmd: test -f tried || { touch tried; kill -9 $$; }; echo validate"
    head = SHORT.partition("  embed:")[0]
    (project / "dvc.yaml").write_text(head.replace("      cmd: echo validate", once))
    monkeypatch.setattr(module, "reproduce", module.reproduce.with_options(retry_delay_seconds=0))

    states = pipeline("text")

    assert [(state.stage, state.state) for state in states] == [("validate@text", "ran")]
    assert runs(project) == ["validate"]
