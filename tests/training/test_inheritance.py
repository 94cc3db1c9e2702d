"""Every registered head can start from earlier heads."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from polydistill.heads import HEADS
from polydistill.training.warm_start import inherit, rows_of_all

OLD = {"first": 3, "second": 7, "third": 2}
NEW = {"third": 2, "added": 4, "first": 3}
KINDS = [
    {"modes": 1},
    {"modes": 2},
    {"modes": 2, "covariance": "low-rank", "rank": 2},
    {"modes": 1, "covariance": "triangular"},
    {"depth": 3},
]
CASES = list(itertools.product(HEADS.names(), KINDS))


def make(name: str, dims: dict[str, int], seed: int, options: dict[str, object]) -> Any:
    """Return heads with random weights; weights of zero would hide errors."""
    draw = torch.Generator().manual_seed(seed)
    heads: Any = HEADS.get(name)(5, dims, draw, hidden=6, **options)
    with torch.no_grad():
        for weight in heads.parameters():
            weight.normal_(0.0, 0.3, generator=draw)
        for buffer, seen in heads.named_buffers():
            if buffer.rpartition(".")[2] in {"running_mean", "running_var"}:
                seen.uniform_(0.5, 1.5, generator=draw)
    return heads.eval()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_known_teachers_are_predicted_as_before(name: str, options: dict[str, object]) -> None:
    old, new = make(name, OLD, 0, options), make(name, NEW, 1, options)
    students = torch.randn(9, 5, generator=torch.Generator().manual_seed(2))

    inherit(new, old, ["third", "first"])

    before, after = old(students), new(students)
    assert list(after) == list(NEW)
    for teacher in ("third", "first"):
        torch.testing.assert_close(after[teacher].mean, before[teacher].mean)
        torch.testing.assert_close(after[teacher].log_scale, before[teacher].log_scale)
        torch.testing.assert_close(after[teacher].log_weights, before[teacher].log_weights)
        for part in ("factor", "triangle"):
            mine, theirs = getattr(after[teacher], part), getattr(before[teacher], part)
            assert (mine is None) == (theirs is None)
            assert mine is None or torch.equal(mine, theirs)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_new_teacher_keeps_its_first_weights(name: str, options: dict[str, object]) -> None:
    fresh, new = make(name, NEW, 1, options), make(name, NEW, 1, options)

    inherit(new, make(name, OLD, 0, options), ["third", "first"])

    first, now = dict(fresh.named_parameters()), dict(new.named_parameters())
    for parameter, rows in new.own_rows("added").items():
        assert rows.any()
        assert torch.equal(now[parameter][rows], first[parameter][rows])
        if not rows.all():
            assert not torch.equal(now[parameter][~rows], first[parameter][~rows])


@pytest.mark.parametrize(("name", "options"), CASES)
def test_rows_of_a_teacher_change_its_prediction_and_no_other(
    name: str, options: dict[str, object]
) -> None:
    heads = make(name, OLD, 0, options)
    students = torch.randn(9, 5, generator=torch.Generator().manual_seed(2))
    before = heads(students)

    with torch.no_grad():
        for parameter, rows in heads.own_rows("second").items():
            heads.get_parameter(parameter)[rows] += 1.0

    after = heads(students)
    for teacher in OLD:
        assert torch.equal(after[teacher].mean, before[teacher].mean) == (teacher != "second")


@pytest.mark.parametrize(("name", "options"), CASES)
def test_mean_rows_change_the_means_of_their_teachers_and_nothing_else(
    name: str, options: dict[str, object]
) -> None:
    heads = make(name, OLD, 0, options)
    students = torch.randn(9, 5, generator=torch.Generator().manual_seed(2))
    before = heads(students)

    with torch.no_grad():
        for parameter, rows in rows_of_all(heads, ["second", "third"], means_only=True).items():
            heads.get_parameter(parameter)[rows] += 1.0

    after = heads(students)
    for teacher, prediction in after.items():
        assert torch.equal(prediction.mean, before[teacher].mean) == (teacher == "first")
        assert torch.equal(prediction.log_scale, before[teacher].log_scale)
        assert torch.equal(prediction.log_weights, before[teacher].log_weights)
        for part in ("factor", "triangle"):
            mine, theirs = getattr(prediction, part), getattr(before[teacher], part)
            assert mine is theirs is None or torch.equal(mine, theirs)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_no_row_has_two_owners(name: str, options: dict[str, object]) -> None:
    heads = make(name, OLD, 0, options)

    counts: dict[str, torch.Tensor] = {}
    for teacher in OLD:
        for parameter, rows in heads.own_rows(teacher).items():
            counts[parameter] = counts.get(parameter, torch.zeros(())) + rows.int()

    assert all(bool((count <= 1).all()) for count in counts.values())
    assert all(bool(rows.all()) for rows in rows_of_all(heads, OLD).values())
