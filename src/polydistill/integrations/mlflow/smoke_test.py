"""Smoke test: load a published model in a fresh process with MLflow alone, and embed examples.

This is a script for `python -P`. No module imports it. Like a model server, it does not import `polydistill` before
MLflow loads the code in the bundle.

    python -P smoke_test.py models:/student-text/3 smoke_test.json answers.npz
"""

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

    On Linux, `ru_maxrss` of a child process starts at the peak of its parent. The value in /proc does not.
    """
    if STATUS.exists():
        line = next(one for one in STATUS.read_text().splitlines() if one.startswith(PEAK))
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def main(uri: str, examples: Path, answers: Path) -> None:
    """Write the embeddings, and the growth of the process's peak memory in MB, to an `.npz` file."""
    torch.zeros(1)
    before = peak_mb()
    model = mlflow.pyfunc.load_model(uri)
    asked = json.loads(examples.read_text(encoding="utf-8"))["examples"]
    rows = model.predict(
        [one if isinstance(one, str) else b64decode(one["base64"]) for one in asked]
    )
    memory_mb = round(peak_mb() - before, 1)
    np.savez(answers, embeddings=np.asarray(rows, dtype=np.float32), memory_mb=memory_mb)


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
