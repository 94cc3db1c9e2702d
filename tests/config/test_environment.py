from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from polydistill.config import environment


def test_variables_set_by_the_user_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in environment.DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("PREFECT_HOME", "elsewhere")
    monkeypatch.setenv("PATH", "/nowhere")

    environment.prepare(tmp_path)

    assert os.environ["HF_HUB_OFFLINE"] == "0"
    assert os.environ["PREFECT_HOME"] == "elsewhere"
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert os.environ["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/nowhere"]
