"""The smoke test: load a published model in this fresh process with MLflow alone, and let it answer.

A script for `python -P`, and no module of ours imports it. It imports nothing of `polydistill` before MLflow
loads the code in the bundle, as a server that loads the model does.

    python -P smoke_test.py models:/student-text/3 examples.json answers.npy growth.json
"""

from __future__ import annotations

import json
import resource
import sys
from base64 import b64decode
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import torch

STATUS = Path("/proc/self/status")
PEAK = "VmHWM:"


def peak_mb() -> float:
    """Return the peak of this process's resident memory, in 10^6 bytes.

    Linux hands `ru_maxrss` down to a child, so that a small one starts with its parent's peak; /proc does not.
    """
    if STATUS.exists():
        line = next(one for one in STATUS.read_text().splitlines() if one.startswith(PEAK))
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def main(uri: str, examples: Path, answers: Path, growth: Path) -> None:
    """Write the answers and by how much memory grew."""
    torch.zeros(1)
    before = peak_mb()
    model = mlflow.pyfunc.load_model(uri)
    asked = json.loads(examples.read_text(encoding="utf-8"))["examples"]
    rows = model.predict(
        [one if isinstance(one, str) else b64decode(one["base64"]) for one in asked]
    )
    np.save(answers, np.asarray(rows, dtype=np.float32), allow_pickle=False)
    growth.write_text(json.dumps({"memory_mb": round(peak_mb() - before, 1)}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
