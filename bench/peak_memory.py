"""Peak memory of training with all teachers, against training the student on one of them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from bench._project import read_project
from bench.measure import Row, quartiles

REPETITIONS = 3  # the peak hardly varies
GOAL = "at most 1.3"


def run() -> list[Row]:
    """Measure both students, each training in its own process."""
    default = read_project().modality("text").student.name
    return [
        _compare("three-layer transformer", "transformer", GOAL),
        _compare(f"{default} student", "default", GOAL),
    ]


def _compare(name: str, kind: str, goal: str) -> Row:
    peaks = np.array(
        [[_peak(which, kind) for which in ("all", "alone")] for _ in range(REPETITIONS)]
    )
    ours, peer = np.median(peaks, axis=0)
    return Row(
        name=f"peak-memory: {name} with all teachers, against a minimal script with the widest teacher",
        ours=float(ours),
        peer=float(peer),
        ratio=round(float(ours / peer), 3),
        unit="MiB",
        spread=quartiles(peaks[:, 0] / peaks[:, 1]),
        goal=goal,
    )


def _peak(which: str, kind: str) -> float:
    """Return the largest resident set of a fresh process, in MiB."""
    command = [sys.executable, "-m", "bench._memory", which, kind]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])
