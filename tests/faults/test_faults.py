from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.machine import NO_COMPILER, Machine, started
from tests.faults.project import digests
from tests.faults.trials import has_traceback
from tests.toy_project import make_toy_project

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("cc") is None, reason=NO_COMPILER)]
STAGE = ("stage", "fetch-data@text")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with started(tmp_path_factory.mktemp("faults")) as running:
        make_toy_project(running.root)
        running.keep("toy")
        yield running


@pytest.fixture(scope="module")
def undisturbed(machine: Machine) -> tuple[int, dict[str, str]]:
    machine.reset("toy")
    done = machine.run(*STAGE, at=0)
    assert done.code == 0, done.output
    return done.operations, digests(machine.root)


@pytest.mark.parametrize("share", [0.1, 0.6, 0.97])
def test_a_stage_that_was_killed_runs_again_to_the_same_bytes(
    machine: Machine, undisturbed: tuple[int, dict[str, str]], share: float
) -> None:
    n_operations, expected = undisturbed
    machine.reset("toy")

    killed = machine.run(*STAGE, at=round(n_operations * share))
    again = machine.run(*STAGE)

    assert killed.code != 0
    assert again.code == 0, again.output
    assert digests(machine.root) == expected


@pytest.mark.parametrize("fault", ["enospc", "emfile"])
def test_a_stage_that_meets_an_error_of_the_system_ends_without_a_traceback(
    machine: Machine, undisturbed: tuple[int, dict[str, str]], fault: str
) -> None:
    n_operations, expected = undisturbed
    machine.reset("toy")

    failed = machine.run(*STAGE, fault=fault, at=n_operations // 2)
    again = machine.run(*STAGE)

    assert failed.code in range(8), failed.output
    assert not has_traceback(failed)
    assert again.code == 0, again.output
    assert digests(machine.root) == expected


def test_operations_outside_the_project_are_not_counted(machine: Machine, tmp_path: Path) -> None:
    machine.reset("toy")

    listed = machine.run("dvc", "--version", at=0)

    assert listed.code == 0
    assert listed.operations == 0
