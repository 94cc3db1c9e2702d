"""A registered student, as the gate sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from polydistill.registry.evidence import TaskExamples


@dataclass(frozen=True)
class Candidate:
    """A registered student, as the gate sees it.

    Attributes:
        version: Its number in the registry.
        student_sha256: Of its weights.
        scores: Task kind, task: main score.
        diverged: Whether its training left the finite numbers.
        examples: Task: its examples, where they are known; the rules on single tasks need them.
    """

    version: int
    student_sha256: str
    scores: Mapping[str, Mapping[str, float]]
    diverged: bool
    examples: Mapping[str, TaskExamples] = field(default_factory=dict)
