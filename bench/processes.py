"""Training on two processes against one, each on one thread: rows per second."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import numpy as np

from bench._project import read_project
from bench.measure import Row, compare_rates, quartiles

PAIRS = 5


def run() -> list[Row]:
    """Compare the three-layer transformer and, without a goal, the default student, whose gradients are large."""
    return [_compare("transformer", "at least 1.6"), _compare("default", "none")]


def _compare(name: str, goal: str) -> Row:
    """Compare the medians of the steps of five pairs of runs."""
    one, two = [], []
    for _ in range(PAIRS):
        one.append(median_of(1, name))
        two.append(median_of(2, name))
    rows = read_project().modality("text").training.batch_size
    seconds = (float(np.median(two)), float(np.median(one)))
    row = compare_rates(
        f"training: {name} student, two processes against one, one thread each", seconds, rows
    )
    spread = quartiles(np.array(one) / np.array(two))
    return Row(**row, spread=spread, goal=goal)  # type: ignore[misc]


def median_of(count: int, name: str) -> float:
    """Return the median duration of a step in a group of processes, in seconds."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "bench._processes", name],
            env={
                **os.environ,
                "WORLD_SIZE": str(count),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "MASTER_ADDR": "localhost",
                "MASTER_PORT": port,
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    said = [one.communicate()[0] for one in started]
    return float(np.median(json.loads(said[0].splitlines()[-1])))
