from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from polydistill.errors import StageError
from polydistill.integrations import processes


def test_a_command_is_stopped_when_its_folder_becomes_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC tries to write to its database for ever, at full speed; EROFS cannot be had without a mount."""
    answers = iter([True, True])
    monkeypatch.setattr(processes, "WATCH_S", 0.05)
    monkeypatch.setattr(os, "access", lambda *_: next(answers, False))

    with pytest.raises(StageError, match=r"was stopped: .* has become read-only\. Check the disk"):
        processes.run_command([sys.executable, "-c", "while True: pass"], tmp_path, timeout_s=600)


def test_a_command_in_a_folder_that_was_read_only_before_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "WATCH_S", 0.01)
    monkeypatch.setattr(os, "access", lambda *_: False)

    finished = processes.run_command(
        [sys.executable, "-c", "import time; time.sleep(0.2)"], tmp_path, timeout_s=600
    )

    assert finished.exit_code == 0
