"""Importing has no side effects: no download, no file, no seed, no thread setting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

IMPORT_ALL = """
import pkgutil, socket
from importlib import import_module

def refuse(*_, **__):
    raise AssertionError("an import opens a connection")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
import numpy, torch
before = (torch.initial_seed(), torch.get_rng_state().sum().item(), torch.get_num_threads(),
          numpy.random.get_state()[1].sum())
import polydistill
names = [m.name for m in pkgutil.walk_packages(polydistill.__path__, "polydistill.")]
scripts = {"polydistill.integrations.mlflow.pyfunc_student"}  # MLflow executes a copy of it
for name in names:
    if name not in scripts:
        import_module(name)
after = (torch.initial_seed(), torch.get_rng_state().sum().item(), torch.get_num_threads(),
         numpy.random.get_state()[1].sum())
assert before == after, "an import draws a number or sets a seed or the threads"
print(len(names))
"""


def test_importing_every_module_has_no_side_effects(tmp_path: Path) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    source = Path(__file__).parents[1] / "src"
    offline = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}  # with them, a download would not show
    kept = {key: value for key, value in os.environ.items() if key not in offline}

    result = subprocess.run(
        [sys.executable, "-B", "-c", IMPORT_ALL],
        cwd=here,
        env={**kept, "HOME": str(home), "HF_HOME": str(home / "hub"), "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 90
    assert not list(here.iterdir())
    assert not list(home.rglob("*.safetensors"))
    assert not (home / "hub").exists()
