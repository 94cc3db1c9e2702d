from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import numpy, sys, polydistill
texts = [f"{number} {number * number}" for number in range(600)]
table = numpy.random.default_rng(0).standard_normal((600, 1024))
polydistill.distill(texts, polydistill.Precomputed(table), "bag-of-bytes", threads=2, cache=sys.argv[1],
                    settings={"weighting": {"name": "phi-s"}, "training": {"epochs": 1}}, progress=False)
import threadpoolctl, torch
print(torch.get_num_threads(), {pool["num_threads"] for pool in threadpoolctl.threadpool_info()})
"""


def distill(folder: Path, threads: str) -> tuple[str, set[str]]:
    """Train in a process with `OMP_NUM_THREADS`; return what it prints and the hashes of its weights."""
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": threads},
        capture_output=True,
        text=True,
        check=True,
    )
    files = folder.rglob("*.safetensors")
    return finished.stdout, {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.slow
def test_the_setting_and_not_the_environment_chooses_the_threads(tmp_path: Path) -> None:
    one, other = distill(tmp_path / "1", "1"), distill(tmp_path / "3", "3")

    assert one[0] == other[0] == "2 {2}\n"
    assert one[1] == other[1]
    assert len(one[1]) == 3
