from __future__ import annotations

import errno
import os
import sys
from itertools import chain, count, repeat
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest

from polydistill.errors import StageError
from polydistill.integrations import processes


def answers(
    monkeypatch: pytest.MonkeyPatch, *first: int, then: int, last: tuple[int, Path] = (0, Path())
) -> None:
    """Let writing in a folder fail with error numbers, or succeed with a zero; the try number `last` makes a file."""
    numbers, tries = chain(first, repeat(then)), count(1)

    def opened(**options: Any) -> Any:
        if next(tries) == last[0]:
            last[1].touch()
        if number := next(numbers):
            raise OSError(number, os.strerror(number))
        return TemporaryFile(**options)

    monkeypatch.setattr(processes, "WATCH_S", 0.02)
    monkeypatch.setattr("polydistill.integrations.processes.TemporaryFile", opened)


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_command_is_stopped_when_its_folder_can_no_longer_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    answers(monkeypatch, 0, 0, then=number)

    with pytest.raises(StageError, match=f"was stopped: .*{os.strerror(number)}.*Run again later"):
        processes.run_command([sys.executable, "-c", "while True: pass"], tmp_path, timeout_s=600)


@pytest.mark.parametrize("before", [0, errno.EROFS])
def test_a_command_runs_on_after_a_short_failure_or_in_a_folder_that_was_read_only_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    last = 1 if before else 5  # a folder that is read-only is not tried again
    answers(monkeypatch, before, errno.ENOSPC, then=before, last=(last, tmp_path / "go"))
    waits = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)"

    assert (
        processes.run_command([sys.executable, "-c", waits], tmp_path, timeout_s=600).exit_code == 0
    )
