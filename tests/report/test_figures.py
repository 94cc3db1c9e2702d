from __future__ import annotations

import re

import numpy as np
import pytest

from polydistill.report.figures import quality_scatter, training_curves
from tests.report.example_run import MODELS, example_history

POINTS = {model: (10.0 * 2**place, 50 + 2.0 * place) for place, model in enumerate(MODELS)}


def test_each_teacher_has_a_training_curve_with_its_name_as_caption() -> None:
    pictures = training_curves(example_history(), "nats per dimension", 630)

    assert [picture.caption for picture in pictures] == list(MODELS)[2:]
    assert all("nats per dimension" in picture.svg for picture in pictures)
    assert "held-out from 1.950" in pictures[0].svg


def test_restarts_by_the_guard_are_marked_in_each_curve() -> None:
    plain, marked = (
        training_curves(example_history(), "nats", 630, restarts)[0].svg
        for restarts in ((), (100, 200))
    )

    assert plain.count("var(--bad)") == 0
    assert marked.count("var(--bad)") == 2


def test_a_figure_has_no_date_no_fixed_colour_and_an_accessible_name() -> None:
    svg = quality_scatter("size", POINTS, "MB", "Size.").svg

    assert 'role="img" aria-label="Mean score against MB: student 10 and 50.0' in svg
    assert "<metadata" not in svg
    assert "dc:date" not in svg
    assert set(re.findall(r"(?:fill|stroke): (#\w+)", svg)) <= {"#ffffff", "#000000"}


def test_ids_of_two_figures_never_meet() -> None:
    one, other = (quality_scatter(name, POINTS, "MB", "").svg for name in ("size", "speed"))

    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (one, other)]

    assert ids[0].isdisjoint(ids[1])
    for svg, known in zip((one, other), ids, strict=True):
        assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg)) <= known


def test_a_hostile_name_is_text_and_not_markup() -> None:
    name = '<script>"$x_1$"'
    svg = quality_scatter("size", {name: (1.0, 40.0), "student": (2.0, 30.0)}, "MB", "").svg

    assert "<script" not in svg
    assert "&lt;script&gt;" in svg


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_crowded_points_do_not_lie_on_one_another(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = {f"model-{n}": (float(300 + 200 * rng.random()), 0.6 + 0.1 * n) for n in range(4)}

    svg = quality_scatter("speed", points, "examples per second", "").svg

    heights = [float(y) for y in re.findall(r'y="([-\d.]+)"[^>]*>model-\d', svg)]
    assert len(heights) == len(points)
    assert min(np.diff(sorted(heights))) > 6
