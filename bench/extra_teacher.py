"""The time that one more teacher adds to a training step of the three-layer transformer."""

from __future__ import annotations

import numpy as np

from bench._project import TRANSFORMER, read_project, teacher_dims
from bench._step import Step
from bench.measure import Row, Seconds, quartiles, seconds_in_turn

WIDTH = 384  # the width of e5-small, which is disabled in params.yaml
PAIRS, REPETITIONS = 8, 5
GOAL = "below 0.03"


def run() -> list[Row]:
    """Compare steps with and without the teacher.

    Two whole steps differ by more than a teacher adds, so only the parts that depend on the teachers are compared:
    reading the targets, heads, losses, geometry, their backward pass, clipping, and the optimiser step on the heads.
    They are timed in turn on the same embeddings, several times per whole step.
    """
    params = read_project()
    dims = teacher_dims(params)
    fewer = Step(params, TRANSFORMER, dims, 1)
    more = Step(params, TRANSFORMER, {**dims, "one more": WIDTH}, 1)
    embedded = fewer.embed(0)
    calls = [
        lambda: more.beside_the_student(0, embedded),
        lambda: fewer.beside_the_student(0, embedded),
    ]
    seconds_in_turn(calls, 2)
    fewer.whole(0)  # the first step allocates memory
    whole, added = np.zeros(REPETITIONS), np.zeros(REPETITIONS)
    for repetition in range(REPETITIONS):
        whole[repetition] = seconds_in_turn([lambda: fewer.whole(0)], 1)[0, 0]
        with_it, without = seconds_in_turn(calls, PAIRS)
        added[repetition] = np.median(with_it) - np.median(without)
    return [_row(len(dims), added, whole)]


def _row(n_teachers: int, added: Seconds, whole: Seconds) -> Row:
    shares = added / whole
    return Row(
        name=f"extra-teacher: time added by a teacher of width {WIDTH} to {n_teachers}, against the step",
        ours=round(float(np.median(added)) * 1000, 3),
        peer=round(float(np.median(whole)) * 1000, 3),
        ratio=round(float(np.median(shares)), 4),
        unit="ms",
        spread=quartiles(shares),
        goal=GOAL,
    )
