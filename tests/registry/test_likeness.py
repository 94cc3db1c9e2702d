from __future__ import annotations

from typing import Any

import pytest

from polydistill.registry.likeness import compare


def side(student: str = "s", score: float = 0.5, nats: float = 1.0, **tasks: float) -> Any:
    return {
        "distill.json": {
            "student_sha256": student,
            "undistilled_sha256": "u",
            "held_out": {"glove": nats},
            "held_out_mean": nats,
        },
        "scores.json": {"student": {"sts": {"simlex": score, **tasks}}},
    }


def test_equal_weights_and_figures_are_identical_bytes() -> None:
    found = compare(side(), side(), 0.0)

    assert (found.outcome, found.n_metrics, found.differences) == ("identical bytes", 3, ())


@pytest.mark.parametrize(
    ("score", "outcome"),
    [(0.5, "within tolerance"), (0.509, "within tolerance"), (0.511, "different")],
)
def test_other_weights_are_judged_by_their_figures(score: float, outcome: str) -> None:
    found = compare(side(), side("other", score=score), 0.01)

    assert found.outcome == outcome
    assert not found.student_identical
    assert found.undistilled_identical


def test_equal_weights_with_another_score_are_not_identical() -> None:
    found = compare(side(), side(score=0.7), 0.01)

    (one,) = found.differences
    assert found.outcome == "different"
    assert (one.metric, one.published, one.reproduced) == ("scores/student/sts/simlex", 0.5, 0.7)
    assert one.difference == pytest.approx(0.2)


def test_a_figure_that_is_missing_is_different_and_stands_first() -> None:
    found = compare(side(lee=0.4), side(nats=9.0), 100.0)

    assert found.outcome == "different"
    assert found.differences[0].metric == "scores/student/sts/lee"
    assert found.differences[0].difference is None
    assert [one.metric for one in found.differences[1:]] == ["held_out/glove", "held_out_mean"]


def test_weights_that_the_published_report_does_not_name_are_not_identical() -> None:
    old = side()
    del old["distill.json"]["undistilled_sha256"]

    assert compare(old, side(), 0.01).outcome == "within tolerance"
