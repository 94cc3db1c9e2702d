"""The share of a training step that the student's own forward and backward pass takes."""

from __future__ import annotations

import time

import numpy as np

from bench._project import TRANSFORMER, read_project, teacher_dims
from bench._step import Step
from bench.measure import Row, compare_medians
from polydistill.config.nodes import Plugin
from polydistill.config.params import Params

GOAL = "at least 0.85"


def run() -> list[Row]:
    """Measure the three-layer transformer and, without a goal, the default student."""
    params = read_project()
    return [
        *_measure(params, TRANSFORMER, "three-layer transformer", 3, GOAL),
        *_measure(
            params,
            params.modality("text").student,
            f"{params.modality('text').student.name} student",
            30,
            "none",
        ),
    ]


def _measure(params: Params, kind: Plugin, name: str, n_batches: int, goal: str) -> list[Row]:
    """Time whole steps and steps of the student alone, in turn, batch by batch."""
    step = Step(params, kind, teacher_dims(params), n_batches)
    whole, own, with_optimiser = [], [], []
    step.whole(0)  # the first step of each kind allocates memory
    step.student_alone(0)
    for number in range(n_batches):
        for is_whole in (True, False) if number % 2 == 0 else (False, True):
            if is_whole:
                started = time.perf_counter()
                step.whole(number)
                whole.append(time.perf_counter() - started)
            else:
                seconds, total = step.student_alone(number)
                own.append(seconds)
                with_optimiser.append(total)
    title = f"step-share: a whole step of the {name}"
    seconds = np.array(whole)
    return [
        compare_medians(
            f"{title}, against its own forward and backward", seconds, np.array(own), goal
        ),
        compare_medians(
            f"{title}, against reading, forward, backward and optimiser of the student alone",
            seconds,
            np.array(with_optimiser),
            "none",
        ),
    ]
