"""Students whose scores on every example are made up."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from polydistill.registry.evidence import Candidate, TaskExamples

TASKS = {"intents": "classification", "topics": "clustering", "pairs": "sts", "words": "sts"}
N_EXAMPLES = 400


def scored(
    version: int, scores: Mapping[str, Mapping[str, float]], *, diverged: bool = False
) -> Candidate:
    """Return a student whose score on every example of a task is the task's."""
    examples = {
        task: TaskExamples(kind, f"data of {task}", np.full(4, score))
        for kind, tasks in scores.items()
        for task, score in tasks.items()
    }
    return Candidate(version, f"sha-{version}", scores, diverged, examples)


def student(
    version: int,
    shifts: Mapping[str, float] | None = None,
    *,
    seed: int | None = None,
    undistilled: float = -0.1,
    digests: Mapping[str, str] | None = None,
) -> Candidate:
    """Return a student on four tasks of examples that differ in difficulty.

    Args:
        version: Its number.
        shifts: Task: by how much each of its examples is better or worse.
        seed: Of noise of its own on every example, whose mean is not quite zero; none: no noise.
        undistilled: How far the student before its first step lies from one without shifts.
        digests: Task: of its data, where it is other data.
    """
    noise = None if seed is None else np.random.default_rng(seed)
    examples = {}
    for place, (task, kind) in enumerate(TASKS.items()):
        base = np.random.default_rng(place).uniform(0.2, 0.8, N_EXAMPLES)
        own = base + (shifts or {}).get(task, 0.0)
        if noise is not None:
            own = own + noise.normal(0, 0.2, N_EXAMPLES)
        digest = (digests or {}).get(task, f"data of {task}")
        examples[task] = TaskExamples(kind, digest, own, base + undistilled)
    scores: dict[str, dict[str, float]] = {}
    for task, one in examples.items():
        scores.setdefault(one.kind, {})[task] = round(float(one.student.mean()), 4)
    return Candidate(version, f"sha-{version}", scores, diverged=False, examples=examples)
