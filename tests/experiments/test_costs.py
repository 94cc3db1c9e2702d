from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.costs import costs
from polydistill.errors import MissingDataError
from polydistill.project.layout import Layout
from tests.report.example_run import write_measurable_run


def test_student_and_teachers_are_listed_with_shares_of_the_best_score(tmp_path: Path) -> None:
    params = write_measurable_run(tmp_path)
    scores = json.loads(Layout(tmp_path, "text").scores.read_text())

    report = costs(tmp_path, params, "text")

    student, *teachers = report.models
    assert student.model == "student"
    assert student.n_parameters == 256 * 8
    best = {
        kind: max(
            sum(by_kind[kind].values()) / len(by_kind[kind])
            for model, by_kind in scores.items()
            if model not in {"student", "undistilled"} and kind in by_kind
        )
        for kind in scores["student"]
    }
    for kind, share in student.shares.items():
        if kind != "mean":
            own = scores["student"][kind]
            assert share == pytest.approx(sum(own.values()) / len(own) / best[kind])
    page = (Layout(tmp_path, "text").results / "costs.md").read_text()
    assert "| **student** | 0.0 M |" in page
    for teacher in teachers:
        assert student.examples_per_s
        assert teacher.examples_per_s
        rate = student.examples_per_s / teacher.examples_per_s
        assert f"{rate:,.1f} times as fast" in page


def test_missing_scores_are_an_error(tmp_path: Path) -> None:
    params = write_measurable_run(tmp_path)
    Layout(tmp_path, "text").scores.unlink()

    with pytest.raises(MissingDataError, match="evaluate"):
        costs(tmp_path, params, "text")
