from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.cli.console import show
from polydistill.cli.registry import _table
from polydistill.registry.ledger import Entry, Ids, sealed

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "exit_code", "said"),
    [
        (["promote", "text", "--reason", "why"], 2, "`--reason` needs `--force`"),
        (["history", "text", "--at", "31.1.2026"], 2, "--at must be a day or a time"),
        (["history", "student-txt"], 2, "Did you mean 'text'"),
        (["history", "student-text"], 3, "No model student-text in the registry"),
        (["rollback", "text"], 3, "publish a student first"),
        (["promote", "text", "--dry-run"], 3, "publish a student first"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_makes_nothing(
    project: Path, command: list[str], exit_code: int, said: str
) -> None:
    result = CliRunner().invoke(app, command)

    assert result.exit_code == exit_code
    assert said in result.output
    assert [path.name for path in project.iterdir()] == ["params.yaml"]


def test_the_table_has_a_row_for_each_move(capsys: pytest.CaptureFixture[str]) -> None:
    entries: list[Entry] = []
    for action, version in (("first", None), ("promote", 1), ("promote", 2)):
        content = {
            "when": datetime(2026, 1, 31, 12, tzinfo=UTC).isoformat(),
            "who": "ada [bold]",
            "model": "student-text",
            "action": action,
            "moves": {"champion": (version - 1 or None, version)} if version else {},
            "verdict": "promoted" if version else None,
            "reason": "because",
            "ids": Ids(version=version),
        }
        entries.append(sealed(entries, **content))

    show({}, as_json=False, human=_table(entries))

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "when (UTC) who action moves verdict reason"
    assert lines[1] == "1 2026-01-31 12:00 ada [bold] first because"
    assert lines[3] == "3 2026-01-31 12:00 ada [bold] promote champion 1 → 2 promoted because"
