from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from polydistill.cli import console
from polydistill.cli.console import ProgressLines, report_errors, show
from polydistill.errors import DiskSpaceError, MissingDataError, ParamsError

ODD = (errno.EACCES, errno.EIO, errno.EMFILE, errno.EISDIR, errno.ELOOP, errno.ENOTDIR, errno.EBUSY)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands until the test moves it."""
    now = [100.0]
    monkeypatch.setattr("polydistill.cli.console.time.monotonic", lambda: now[0])
    return now


def test_the_first_line_comes_at_once_and_the_next_after_a_while(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    progress = ProgressLines("distill")
    for second, done in ((0, 10), (1, 20), (4, 50), (5, 100)):
        clock[0] = 100.0 + second
        progress("steps", done, 100)

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[2] for line in lines] == ["10/100", "50/100", "100/100"]


def test_the_rate_does_not_count_what_an_earlier_run_had_done(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    progress = ProgressLines("embed")
    progress("corpus", 900, 1000)
    clock[0] += 5
    progress("corpus", 950, 1000)

    first, second = capsys.readouterr().out.splitlines()
    assert "/s" not in first
    assert "10/s" in second  # not 190/s
    assert "ETA 0:05" in second


def test_what_begins_anew_has_a_rate_of_its_own(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    progress = ProgressLines("methods")
    for second, done in ((0, 0), (10, 1000), (5010, 100), (5020, 200)):
        clock[0] = 100.0 + second
        progress("default steps", done, 1000)

    *_, anew, last = capsys.readouterr().out.splitlines()
    assert "/s" not in anew
    assert "10/s" in last  # not 0.0/s
    assert "ETA 1:20" in last


def test_tables_in_a_report_have_a_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    report = {"rules": [{"name": "gain"}, {"name": "finite"}], "means": {"student": {"sts": 0.5}}}

    show(report, as_json=False)

    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["rules  name gain", "name finite", "means  student  sts 0.5000"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ParamsError("no such key"), ParamsError.exit_code, "ParamsError: no such key"),
        (OSError(errno.ENOSPC, "No space left"), DiskSpaceError.exit_code, "A disk is full"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), 5, "Check that the service runs"),
        *((OSError(number, "it failed", "a/b.json"), 4, "a/b.json: it failed. ") for number in ODD),
        *((OSError(number, "it failed"), 4, advice) for number, advice in console.ADVICE.items()),
        (
            sqlite3.OperationalError("database or disk is full\n[SQL: " + "x" * 9000),
            4,
            "disk is full",
        ),
    ],
)
def test_errors_become_a_line_and_an_exit_code(
    error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as left, report_errors():
        raise error

    assert left.value.exit_code == code
    output = capsys.readouterr().err
    assert said in output
    assert len(output) < 600


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_that_is_not_utf_8_shows_what_it_can(tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / "Prüfung eins"
    folder.mkdir()
    settings = {"PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0"}
    environment = {key: value for key, value in os.environ.items() if key != "HOME"} | settings

    command = [sys.executable, "-c", "from polydistill.cli.app import main; main()"]
    finished = subprocess.run(
        [*command, "encode", "models:/student-Größe→@champion", "x.txt", "-o", "out.npy"],
        cwd=folder,
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )

    assert finished.returncode == MissingDataError.exit_code, finished.stderr
    assert b"Error: " in finished.stderr
    assert b"Traceback" not in finished.stderr
    assert list(folder.iterdir()) == []


def test_an_error_of_our_code_keeps_its_trace() -> None:
    with pytest.raises(ZeroDivisionError), console.report_errors():
        raise ZeroDivisionError
