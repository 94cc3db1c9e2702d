"""Training on two processes against one, each on one thread: rows per second of the default text student."""

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
    """Compare the medians of the steps of five pairs of runs."""
    one, two = [], []
    for _ in range(PAIRS):
        one.append(median_of(1))
        two.append(median_of(2))
    rows = read_project().modality("text").training.batch_size
    seconds = (float(np.median(two)), float(np.median(one)))
    row = compare_rates("training: two processes against one, one thread each", seconds, rows)
    spread = quartiles(np.array(one) / np.array(two))
    return [Row(**row, spread=spread, goal="at least 1.6")]  # type: ignore[misc]


def median_of(count: int) -> float:
    """Return the median duration of a step in a group of processes, in seconds."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "bench._processes"],
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
