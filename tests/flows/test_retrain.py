from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flows import retrain as module
from flows.retrain import retrain
from polydistill.errors import StageError
from polydistill.integrations import dvc
from polydistill.integrations.processes import run_command
from tests.toy_project import SHORT_STAGES

FAKE = """\
import pathlib, sys
with pathlib.Path("calls.log").open("a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
print(sys.argv[1], "says something")
sys.exit({"publish": %d, "promote": %d}.get(sys.argv[1], 0))
"""


@pytest.fixture
def ready(project: Path) -> Path:
    """The toy project with its data in place."""
    (project / "data").mkdir()
    return project


def fake_commands(folder: Path, patch: pytest.MonkeyPatch, *, publish: int, promote: int) -> None:
    script = folder / "fake.py"
    script.write_text(FAKE % (publish, promote))
    patch.setattr(module, "COMMAND", (sys.executable, str(script)))


def calls(folder: Path) -> list[str]:
    return (folder / "calls.log").read_text().splitlines()


def test_after_dvc_repro_a_flow_changes_nothing_and_a_refused_gate_still_gets_its_report(
    ready: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fake_commands(ready, monkeypatch, publish=0, promote=6)
    assert run_command([*dvc.DVC, "repro"], ready, timeout_s=60).exit_code == 0
    lock = (ready / "dvc.lock").read_bytes()

    state = retrain("text", return_state=True)

    assert state.is_completed()
    assert state.name == "Refused"
    assert calls(ready) == ["publish text", "promote text", "report text"]
    assert (ready / "dvc.lock").read_bytes() == lock
    said = capfd.readouterr().out
    assert all(f"Stage '{stage}' didn't change, skipping" in said for stage in SHORT_STAGES)
    assert "promote says something" in said


def test_a_failed_publish_stops_the_flow_with_its_exit_code_and_last_lines(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_commands(ready, monkeypatch, publish=4, promote=0)
    monkeypatch.setattr(module, "pipeline", lambda _modality: [])

    with pytest.raises(StageError, match=r"(?s)publish failed with exit code 4.*says") as got:
        retrain("text")

    assert got.value.exit_code == 4
    assert calls(ready) == ["publish text"]


def test_a_passed_gate_is_a_plain_completed_run(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_commands(ready, monkeypatch, publish=0, promote=0)
    monkeypatch.setattr(module, "pipeline", lambda _modality: [])

    state = retrain("text", return_state=True)

    assert state.name == "Completed"
    assert str(state.result()) == "passed"
