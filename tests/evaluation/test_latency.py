from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from polydistill.contracts import Example
from polydistill.evaluation.latency import PAIRS, Answer, latencies, size_mb


class Machine:
    """A clock that advances only while a student runs, and faster when the machine is busy."""

    def __init__(self) -> None:
        self.now = 0.0
        self.speed = 1.0
        self.calls: list[str] = []

    def student(self, name: str, ms: float) -> Answer:
        def answer(examples: Sequence[Example]) -> None:
            self.calls.append(name)
            if len(self.calls) % 50 < 10:  # every so often, another process wants the processor
                self.speed = 7.0
            self.now += self.speed * ms * len(examples) / 1e3
            self.speed = 1.0

        return answer

    def clock(self) -> float:
        return self.now


def test_the_ratio_is_true_on_a_machine_that_is_busy_now_and_then() -> None:
    machine = Machine()
    slow, fast = machine.student("slow", 0.3), machine.student("fast", 0.2)

    one, many = latencies(slow, fast, ["a", "b"], clock=machine.clock)

    assert (one.batch, many.batch) == (1, 64)
    assert one.ratio == pytest.approx(1.5, abs=1e-3)
    assert many.ratio == pytest.approx(1.5, abs=1e-3)
    assert one.ms == pytest.approx(0.3, abs=1e-3)


def test_students_take_turns_and_slow_ones_are_measured_less_often() -> None:
    machine = Machine()

    latencies(machine.student("a", 1), machine.student("b", 1), ["x"], clock=machine.clock)
    fast = len(machine.calls)
    heavy = Machine()
    latencies(heavy.student("a", 500), heavy.student("b", 500), ["x"], clock=heavy.clock)

    assert fast > PAIRS
    assert len(heavy.calls) < 100
    timed = machine.calls[4 : 4 + 2 * PAIRS]
    assert timed.count("a") == timed.count("b")
    assert timed[:4] == ["b", "a", "a", "b"]


def test_alone_there_is_no_ratio() -> None:
    machine = Machine()

    found = latencies(machine.student("a", 2), None, ["x"], clock=machine.clock)

    assert [one.ratio for one in found] == [None, None]
    assert found[0].ms == pytest.approx(2.0, abs=1e-3)


def test_a_bundle_is_as_large_as_its_files(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "weights").write_bytes(bytes(1_500_000))
    (tmp_path / "card").write_bytes(bytes(500_000))

    assert size_mb(tmp_path) == 2.0
