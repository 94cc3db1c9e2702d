from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polydistill.errors import InfrastructureError
from polydistill.project.lock import occupied

HOLD = """
import sys, time
from pathlib import Path
from polydistill.project.lock import occupied
with occupied(Path(sys.argv[1]), "a nightly run"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / ".polydistill" / "run.lock"


def holder(lock: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_and_told_by_whom(lock: Path) -> None:
    process = holder(lock)
    try:
        with (
            pytest.raises(InfrastructureError, match=f"a nightly run .process {process.pid}."),
            occupied(lock, "a person's run"),
        ):
            pass
    finally:
        process.kill()
        process.communicate()


def test_a_killed_run_leaves_nothing_to_clear(lock: Path) -> None:
    process = holder(lock)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    with occupied(lock, "the next run"):
        assert "the next run" in lock.read_text()


def test_a_run_may_wait_for_another(lock: Path) -> None:
    process = holder(lock)
    started = time.monotonic()
    with (
        pytest.raises(InfrastructureError, match=r"occupied after 0\.2 s"),
        occupied(lock, "impatient", wait_s=0.2),
    ):
        pass
    assert time.monotonic() - started >= 0.2
    process.kill()
    process.communicate()

    with occupied(lock, "patient", wait_s=5):
        pass


def test_after_a_run_the_folder_is_free(lock: Path) -> None:
    for _ in range(2):
        with occupied(lock, "a run"):
            pass
    assert lock.read_text() == ""
