from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polydistill.errors import InfrastructureError
from polydistill.project.lock import project_lock

HOLD = """
import subprocess, sys, time
from pathlib import Path
from polydistill.project.lock import project_lock
with project_lock(Path(sys.argv[1]), "a nightly run"):
    if len(sys.argv) > 2:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"], stdout=subprocess.DEVNULL)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / ".polydistill" / "run.lock"


def holder(lock: Path, *, child: bool = False) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock), *(["child"] if child else [])],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_with_the_name_of_the_holder(lock: Path) -> None:
    process = holder(lock)
    try:
        with (
            pytest.raises(InfrastructureError, match=f"a nightly run .process {process.pid}."),
            project_lock(lock, "a person's run"),
        ):
            pass
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("torn", ["", '{"who": "a nig', "[1]", "{}", "\udcff"])
def test_a_second_run_is_refused_though_the_name_of_the_holder_is_torn(
    lock: Path, torn: str
) -> None:
    process = holder(lock)
    lock.with_name("run.lock.holder").write_bytes(torn.encode(errors="surrogateescape"))
    try:
        with pytest.raises(InfrastructureError, match="another process"), project_lock(lock, "me"):
            pass
    finally:
        process.kill()
        process.communicate()


def test_a_killed_run_releases_the_lock(lock: Path) -> None:
    process = holder(lock)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    with project_lock(lock, "the next run"):
        assert "the next run" in lock.with_name("run.lock.holder").read_text()


def test_a_run_can_wait_for_another(lock: Path) -> None:
    process = holder(lock)
    started = time.monotonic()
    with (
        pytest.raises(InfrastructureError, match=r"locked after 0\.2 s"),
        project_lock(lock, "impatient", wait_s=0.2),
    ):
        pass
    assert time.monotonic() - started >= 0.2
    process.kill()
    process.communicate()

    with project_lock(lock, "patient", wait_s=5):
        pass


def test_a_finished_run_releases_the_lock(lock: Path) -> None:
    for _ in range(2):
        with project_lock(lock, "a run"):
            pass
    assert [path.name for path in lock.parent.iterdir()] == ["run.lock"]


def test_a_surviving_child_of_a_killed_run_does_not_hold_the_lock(lock: Path) -> None:
    process = holder(lock, child=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    with project_lock(lock, "the next run"):
        pass
