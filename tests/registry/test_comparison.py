from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from polydistill.evaluation.statistics.bootstrap import holm
from polydistill.registry.quality import Comparison, Pair, compare

ROW = st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=20)
Row = NDArray[np.float64]


def compared(before: Row, after: Row) -> Comparison:
    other = Pair("sts", np.zeros(4), np.array([0.1, -0.1, 0.2, 0.0]))
    pairs = {"a": Pair("classification", before, after), "b": other}
    return compare(pairs, resamples=200)


@settings(max_examples=30, deadline=None)
@given(ROW, st.floats(-4, 4, width=16))
def test_what_is_added_to_both_models_changes_nothing(scores: list[float], shift: float) -> None:
    before, after = np.array(scores), np.array(scores[::-1])

    plain, shifted = compared(before, after), compared(before + shift, after + shift)

    assert shifted.mean.mean == pytest.approx(plain.mean.mean, abs=1e-9)
    for end in ("mean", "low", "high"):
        moved = getattr(shifted.tasks["a"].change, end)
        assert moved == pytest.approx(getattr(plain.tasks["a"].change, end), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(ROW)
def test_swapping_the_models_mirrors_the_change(scores: list[float]) -> None:
    before, after = np.array(scores), np.array(scores[::-1]) ** 2

    there, back = (compared(*pair).tasks["a"].change for pair in ((before, after), (after, before)))

    assert there.mean == pytest.approx(-back.mean, abs=1e-12)
    assert there.low == pytest.approx(-back.high, abs=1e-12)
    assert there.high == pytest.approx(-back.low, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(ROW, st.floats(0.125, 1, width=16))
def test_a_better_student_is_never_more_suspect(scores: list[float], gain: float) -> None:
    before, after = np.array(scores), np.array(scores[::-1])

    worse, better = (compared(before, row).tasks["a"].p_worse for row in (after, after + gain))

    assert better >= worse


def test_other_tasks_do_not_change_a_task_s_interval() -> None:
    generator = np.random.default_rng(0)
    pairs = {name: Pair("sts", *generator.normal(size=(2, 30))) for name in "abc"}

    alone = compare({"b": pairs["b"]}, resamples=300)
    together = compare(pairs, resamples=300)

    assert alone.tasks["b"].change == together.tasks["b"].change


def test_each_kind_counts_once_however_many_tasks_it_has() -> None:
    pairs = {
        name: Pair(kind, np.zeros(3), np.full(3, gain))
        for name, kind, gain in (("a", "sts", 0.3), ("b", "sts", 0.1), ("c", "regression", 0.0))
    }

    assert compare(pairs, resamples=100).mean.mean == pytest.approx(0.1)


def test_groups_are_drawn_whole() -> None:
    change = np.repeat(np.random.default_rng(1).normal(size=20), 10)
    groups = np.repeat(np.arange(20), 10).astype(str)

    def width(groups: NDArray[np.str_] | None) -> float:
        pair = Pair("sts", np.zeros(200), change, groups)
        found = compare({"a": pair}, resamples=2_000).mean
        return found.high - found.low

    assert width(groups) == pytest.approx(width(None) * np.sqrt(10), rel=0.15)


def test_one_bound_holds_for_all_tasks_together() -> None:
    generator, called = np.random.default_rng(2), 0

    for number in range(60):
        pairs = {
            f"{number}-{task}": Pair("sts", np.zeros(60), generator.normal(size=60))
            for task in range(10)
        }
        found = compare(pairs, resamples=400)
        called += any(one.p_worse <= 0.05 for one in found.tasks.values())

    assert called / 60 <= 0.15  # Holm promises .05; without it, this is about .4


def test_holm_agrees_with_its_published_steps() -> None:
    # Holm 1979: sorted p-values are multiplied by m, m - 1, …, 1, and never fall.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
