from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from flows import commands
from flows import watch as module
from flows.watch import watch
from polydistill.errors import StageError
from polydistill.integrations.dvc import stages as dvc


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The events that the flow emits."""
    emitted: list[tuple[str, Any]] = []

    def emit(event: str, resource: dict[str, str], payload: dict[str, Any]) -> None:
        emitted.append((event, payload["md5"]))

    monkeypatch.setattr(module, "emit_event", emit)
    return emitted


def point_to(project: Path, md5: str) -> None:
    (project / "data.dvc").write_text(f"outs:\n- md5: {md5}\n  path: data\n")


def test_each_version_of_the_data_emits_one_event(
    project: Path, events: list[tuple[str, Any]]
) -> None:
    names = []
    for md5 in ("one", "one", "two", "two"):
        point_to(project, md5)
        names.append(watch("text", return_state=True).name)

    assert names == ["Changed", "Unchanged", "Changed", "Unchanged"]
    assert events == [("polydistill.data.changed", "one"), ("polydistill.data.changed", "two")]


def test_drift_emits_an_event_and_a_failed_check_is_repeated(
    project: Path, events: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    point_to(project, "one")
    monkeypatch.setattr(dvc, "sync_data", lambda _root: "unchanged")
    monkeypatch.setattr(commands, "COMMAND", ("false",))
    assert watch("text", drift=True, return_state=True).is_failed()
    assert events == []

    answer = "import json; print(json.dumps({'drifted': ['embeddings']})); raise SystemExit(7)"
    monkeypatch.setattr(commands, "COMMAND", (sys.executable, "-c", answer))
    watch("text", drift=True)

    assert events == [("polydistill.drift.found", "one"), ("polydistill.data.changed", "one")]


def test_without_a_champion_only_the_change_of_the_data_emits_an_event(
    project: Path, events: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    point_to(project, "one")
    monkeypatch.setattr(dvc, "sync_data", lambda _root: "unchanged")
    monkeypatch.setattr(commands, "COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))

    watch("text", drift=True)

    assert events == [("polydistill.data.changed", "one")]


def test_the_error_of_a_killed_command_names_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = "import os; print('half way', flush=True); os.kill(os.getpid(), 9)"
    monkeypatch.setattr(commands, "COMMAND", (sys.executable, "-c", killed))

    with pytest.raises(StageError, match="polydistill promote was killed by SIGKILL.*\nhalf way"):
        commands.call("promote", "text")
