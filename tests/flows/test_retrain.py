from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
from prefect.flow_runs import resume_flow_run

from flows import approval, commands
from flows import retrain as module
from flows.retrain import retrain
from polydistill.errors import GateRefusedError, InfrastructureError, StageError
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.processes import run_command
from polydistill.project.layout import Layout
from polydistill.project.lock import project_lock
from tests.toy_project import SHORT_STAGES, runs

FAKE = """\
import json, pathlib, sys
command, modality, *options = sys.argv[1:]
with pathlib.Path("calls.log").open("a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
print(command, "says something")
answer, exit_code = json.loads(pathlib.Path("answers.json").read_text()).get(command, [None, 0])
if "--json" in options:
    print(json.dumps(answer))
sys.exit(exit_code)
"""
RUN = {"action": "run", "reason": "Stale: everything."}
PROMOTED = {"outcome": "promoted", "reason": "Version 2 is better.", "challenger": 2}
REFUSED = {"outcome": "refused", "reason": "Version 2 is worse.", "challenger": 2}


@pytest.fixture
def ready(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy project with data, in which `polydistill` is a script that records its calls."""
    (project / "data").mkdir()
    script = project / "fake.py"
    script.write_text(FAKE)
    monkeypatch.setattr(commands, "COMMAND", (sys.executable, str(script)))
    answer(project)
    return project


def answer(project: Path, **changes: tuple[object, int]) -> None:
    """Set the JSON object and the exit code of each command."""
    answers = {"plan": (RUN, 0), "promote": (PROMOTED, 0), "reject": (REFUSED, 0)}
    (project / "answers.json").write_text(json.dumps(answers | changes))


def without_stages(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "pipeline", lambda _modality: [])


def change_params(project: Path, **retrain: object) -> None:
    path = project / "params.yaml"
    tree = yaml.safe_load(path.read_text())
    tree["text"]["retrain"] |= retrain
    path.write_text(yaml.safe_dump(tree))


def calls(folder: Path) -> list[str]:
    log = folder / "calls.log"
    return log.read_text().splitlines() if log.exists() else []


def test_after_dvc_repro_a_flow_changes_nothing_and_a_refusal_is_reported(
    ready: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answer(ready, promote=(REFUSED, 6))
    assert run_command([*dvc.DVC, "repro"], ready, timeout_s=60).exit_code == 0
    lock = (ready / "dvc.lock").read_bytes()

    state = retrain("text", return_state=True)

    assert state.is_completed()
    assert (state.name, state.message) == ("Refused", "Version 2 is worse.")
    assert calls(ready) == [
        "plan text --json",
        "publish text",
        "promote text --json",
        "report text",
    ]
    assert (ready / "dvc.lock").read_bytes() == lock
    output = capfd.readouterr().out
    assert all(f"Stage '{stage}' didn't change, skipping" in output for stage in SHORT_STAGES)
    assert "Version 2 is worse." in output


def test_without_work_no_stage_runs_and_the_reason_and_the_report_are_shown(
    ready: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reason = "Nothing is stale, and version 3 is champion."
    answer(ready, plan=({"action": "unchanged", "reason": reason}, 0))
    Layout(ready, "text").reports.mkdir(parents=True)
    Layout(ready, "text").page.write_text("a report")

    state = retrain("text", return_state=True)

    artifact = cast("Artifact", Artifact.get("outcome-text"))
    assert (state.name, state.message, state.is_completed()) == ("Unchanged", reason, True)
    assert artifact.data == f"**Unchanged.** {reason}"
    assert calls(ready) == ["plan text --json"]
    assert runs(ready) == []
    assert "Report: reports/text/index.html" in capfd.readouterr().out


def test_the_command_exits_with_6_if_the_gate_refuses(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(ready, promote=(REFUSED, 6))
    without_stages(monkeypatch)
    monkeypatch.setattr(module, "require_reachable_api", lambda: None)

    with pytest.raises(SystemExit) as got:
        module.main("text")

    assert got.value.code == GateRefusedError.exit_code


def test_a_locked_folder_is_refused_before_any_command_runs(ready: Path) -> None:
    with (
        project_lock(Layout(ready, "text").run_lock, "another retrain"),
        pytest.raises(InfrastructureError, match="locked by another retrain"),
    ):
        retrain("text")

    assert calls(ready) == []


def test_a_failed_publish_stops_the_flow_with_its_exit_code_and_last_lines(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(ready, publish=(None, 4))
    without_stages(monkeypatch)

    with pytest.raises(StageError, match=r"(?s)publish failed with exit code 4.*says") as got:
        retrain("text")

    assert got.value.exit_code == 4
    assert calls(ready) == ["plan text --json", "publish text"]


def answer_when_paused(answer: dict[str, object]) -> threading.Thread:
    """Answer the paused run through the API, in a thread."""

    def look() -> None:
        waiting = FlowRunFilter(
            state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Paused"]))
        )
        until = time.monotonic() + 60
        with get_client(sync_client=True) as client:
            while time.monotonic() < until:
                for run in client.read_flow_runs(flow_run_filter=waiting):
                    cast("Any", resume_flow_run)(run.id, run_input=answer)
                    return
                time.sleep(0.2)

    thread = threading.Thread(target=look)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("person", "state_name", "last"),
    [
        ({"approve": True, "by": "ada"}, "Promoted", "promote text --expect 2 --json"),
        (
            {"approve": False, "by": "ada", "reason": "too slow"},
            "Refused",
            "reject text --by ada --reason too slow --json",
        ),
    ],
)
def test_the_answer_of_a_person_promotes_or_refuses(
    ready: Path,
    monkeypatch: pytest.MonkeyPatch,
    person: dict[str, object],
    state_name: str,
    last: str,
) -> None:
    change_params(ready, approval="manual", approval_timeout_s=60)
    without_stages(monkeypatch)
    monkeypatch.setattr(approval, "POLL_S", 1)
    thread = answer_when_paused(person)

    state = retrain("text", return_state=True)

    thread.join()
    assert state.name == state_name
    assert calls(ready)[:3] == ["plan text --json", "publish text", "promote text --dry-run --json"]
    assert calls(ready)[-2] == last


def test_without_an_answer_the_champion_stays(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_params(ready, approval="manual", approval_timeout_s=1)
    without_stages(monkeypatch)
    monkeypatch.setattr(approval, "POLL_S", 1)

    state = retrain("text", return_state=True)

    assert (state.name, state.is_completed()) == ("Unanswered", True)
    assert not [call for call in calls(ready) if call.startswith("promote text --expect")]
