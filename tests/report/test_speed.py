from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from polydistill.config.params import Params
from polydistill.errors import MissingDataError
from polydistill.project.layout import Layout
from polydistill.report import costs
from polydistill.report.costs import known_speeds, measure
from polydistill.report.facts import collect
from polydistill.report.page import write_report
from polydistill.students import STUDENTS
from polydistill.teachers import build_teacher
from tests.report.example_run import write_measurable_run


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, Params]:
    return tmp_path, write_measurable_run(tmp_path)


def break_teacher(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    real = build_teacher

    class Broken:
        def __init__(self) -> None:
            self.name, self.dim, self.by_id = name, 4, False

        def embed(self, _examples: object) -> None:
            raise MissingDataError("No file weights.bin.")

    def build(given: str, *rest: Any) -> object:
        return Broken() if given == name else real(given, *rest)

    monkeypatch.setattr(costs, "build_teacher", build)


def test_student_and_teachers_are_measured_side_by_side(run: tuple[Path, Params]) -> None:
    root, params = run

    measured = measure(root, params, "text")

    assert [one.model for one in measured] == ["student", "quick", "absent"]
    assert all(one.examples_per_s and one.examples_per_s > 0 for one in measured)
    assert measured[0].n_examples == 40


def test_what_is_known_is_not_measured_again(
    run: tuple[Path, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, params = run
    first = measure(root, params, "text")
    monkeypatch.delattr(costs, "_measure_in_turn")

    assert measure(root, params, "text") == first == known_speeds(root, params, "text")


def test_another_student_is_measured_anew(run: tuple[Path, Params]) -> None:
    root, params = run
    measure(root, params, "text")
    layout = Layout(root, "text")
    generator = torch.Generator().manual_seed(1)
    STUDENTS.get("bag-of-bytes").build([], generator, dim=8).save(layout.student)

    assert known_speeds(root, params, "text") == []


def test_a_damaged_cache_is_measured_anew(run: tuple[Path, Params]) -> None:
    root, params = run
    measure(root, params, "text")
    (root / ".polydistill" / "speed" / "text.json").write_text("{", encoding="utf-8")

    assert len(measure(root, params, "text")) == 3


def test_a_teacher_that_cannot_be_measured_is_said_and_tried_again(
    run: tuple[Path, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, params = run
    with monkeypatch.context() as patched:
        break_teacher(patched, "absent")
        measured = measure(root, params, "text")
        html = write_report(root, collect(root, params, "text")).read_text(encoding="utf-8")

    assert measured[2].examples_per_s is None
    assert measured[2].problem == "No file weights.bin."
    assert "The speed of absent could not be measured: No file weights.bin." in html
    assert measure(root, params, "text")[2].problem == ""


def test_a_slow_model_gets_fewer_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "BUDGET_S", 0.4)
    seen: list[int] = []
    monkeypatch.setattr("polydistill.report.costs.time.perf_counter", lambda: 0.002 * sum(seen))

    def slow(examples: object) -> None:
        assert isinstance(examples, list)
        seen.append(len(examples))

    measured = costs._measure_in_turn({"slow": slow}, ["a"] * 256)

    count = measured[0].n_examples
    assert 32 <= count < 256
    assert measured[0].examples_per_s == 500
    assert sum(seen) == 2 + 32 + 2 * count


def test_a_slow_model_that_pads_its_calls_is_as_fast_as_on_all_examples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(costs, "BUDGET_S", 3.0)
    spent: list[float] = []
    monkeypatch.setattr("polydistill.report.costs.time.perf_counter", lambda: sum(spent))
    examples = ["a" * (1 + 37 * number % 256) for number in range(256)]

    def padding(batch: Sequence[str | bytes]) -> None:
        ordered = sorted(map(len, batch))  # batches of 32, each padded to its longest text
        batches = [ordered[start : start + 32] for start in range(0, len(batch), 32)]
        spent.extend(0.001 * len(one) * max(one) for one in batches)

    padding(examples)
    every = 256 / sum(spent)
    spent.clear()

    measured = costs._measure_in_turn({"padding": padding}, examples)

    assert measured[0].n_examples < 256
    assert measured[0].examples_per_s == pytest.approx(every, rel=0.15)


def test_without_a_student_nothing_is_measured(run: tuple[Path, Params]) -> None:
    root, params = run
    for file in Layout(root, "text").student.iterdir():
        file.unlink()

    with pytest.raises(MissingDataError, match="run the distill stage"):
        measure(root, params, "text")


def test_the_cache_holds_no_path_and_no_host(run: tuple[Path, Params]) -> None:
    root, params = run
    measure(root, params, "text")

    content = json.loads((root / ".polydistill" / "speed" / "text.json").read_text())

    assert set(content) == {"key", "measured"}
    assert str(root) not in json.dumps(content)
