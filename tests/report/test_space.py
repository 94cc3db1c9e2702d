from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polydistill.contracts import Embeddings
from polydistill.report.disagreements import disagreements
from polydistill.report.map import NONE, OTHER, _coloured, _distinct
from polydistill.report.similarity import linear_cka, similarities
from polydistill.report.space import Space, TestRows, coordinates, nearest_cosine
from polydistill.students import unit_length

N, QUERIES = 60, 6


def made_space(*, disagreeing: int) -> Space:
    """Return a space in which one held-out row has other neighbours by the teacher than by the student."""
    rng = np.random.default_rng(0)
    teacher = unit_length(rng.normal(size=(N, 8)).astype(np.float32))
    student = teacher.copy()
    student[disagreeing] = -teacher[disagreeing]
    held_out = np.arange(N) < QUERIES
    examples = [f"text {number}" for number in range(N)]
    teachers = {"wise": Embeddings(3 * teacher, np.ones(N, dtype=np.bool_))}
    return Space(examples, ["made"] * N, held_out, student, None, teachers, {}, N)


def test_the_query_whose_neighbours_differ_is_shown_with_both_lists() -> None:
    teacher = made_space(disagreeing=0).teachers["wise"].values
    surest = int(nearest_cosine(teacher[:QUERIES], teacher[QUERIES:]).argmax())
    space = made_space(disagreeing=surest)

    found = disagreements(space, "wise", "text")

    assert found is not None
    assert (found.n_queries, found.n_rows) == (QUERIES, N - QUERIES)
    worst, *others = found.worst
    assert worst.query.text == f"text {surest}"
    assert worst.overlap < 0.5
    assert not all(row.shared for row in worst.student)
    for one in others:
        assert one.overlap == 1
        assert [row.example for row in one.student] == [row.example for row in one.teacher]
        assert all(row.shared for row in one.student)


def test_too_few_rows_have_no_disagreements() -> None:
    space = made_space(disagreeing=0)
    few = Space(
        space.examples[:8],
        space.sources[:8],
        space.held_out[:8],
        space.student[:8],
        None,
        {"wise": Embeddings(space.student[:8], np.ones(8, dtype=np.bool_))},
        {},
        8,
    )

    assert disagreements(few, "wise", "text") is None


@pytest.mark.parametrize("seed", range(3))
def test_cka_does_not_change_by_rotation_scale_and_shift(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(50, 6)), rng.normal(size=(50, 4))
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]

    assert linear_cka(2 * x @ rotation + 7, y) == pytest.approx(linear_cka(x, y))
    assert linear_cka(x, 2 * x @ rotation + 7) == pytest.approx(1)
    assert 0 <= linear_cka(x, y) < 1


def test_cka_agrees_with_its_definition_by_gram_matrices() -> None:
    """Kornblith et al. 2019, equation 3: HSIC of centred Gram matrices."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 3))
    centre = np.eye(30) - 1 / 30
    grams = [centre @ one @ one.T @ centre for one in (x, y)]
    norms = [np.sqrt(np.trace(one @ one)) for one in grams]

    assert linear_cka(x, y) == pytest.approx(np.trace(grams[0] @ grams[1]) / np.prod(norms))


def test_similarities_are_symmetric_and_one_on_the_diagonal() -> None:
    found = similarities(made_space(disagreeing=1))

    assert found is not None
    assert found["student"]["wise"] == found["wise"]["student"] < 1
    assert found["wise"]["wise"] == 1


def test_the_nearest_cosine_is_the_largest() -> None:
    rows = unit_length(np.array([[1, 0], [1, 1]], dtype=np.float32))
    queries = unit_length(np.array([[0, 1], [2, 0]], dtype=np.float32))

    assert nearest_cosine(queries, rows) == pytest.approx([0.5**0.5, 1])


def test_the_map_separates_two_clusters_by_either_method() -> None:
    rng = np.random.default_rng(0)
    for n, method in ((40, "PCA"), (160, "t-SNE")):
        near = rng.normal(size=(n, 8)).astype(np.float32) * 0.05
        near[n // 2 :, 0] += 3

        places, name = coordinates(near, seed=0)

        again, _ = coordinates(near, seed=0)
        assert name == method
        assert (places == again).all()
        first, second = places[: n // 2], places[n // 2 :]
        apart = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
        assert apart > 2 * max(first.std(), second.std())


def test_rare_names_share_a_colour() -> None:
    names = [f"source {n // 3}" for n in range(30)] + [NONE]

    every, numbers = _coloured(names)

    assert every == (*(f"source {n}" for n in range(7)), OTHER, NONE)
    assert numbers[0] == 0
    assert numbers[29] == every.index(OTHER)
    assert numbers[30] == every.index(NONE)


def test_an_example_of_two_tasks_is_on_the_map_once() -> None:
    def rows(*ids: str) -> TestRows:
        embeddings = np.array([[float(one)] for one in ids], dtype=np.float32)
        return TestRows(pd.DataFrame({"id": ids}), ["text"], [embeddings])

    shown = _distinct({"topics": rows("1", "2"), "clusters": rows("3", "2"), "again": rows("1")})

    ids = {name: one.frame["id"].tolist() for name, one in shown.items()}
    assert ids == {"topics": ["1", "2"], "clusters": ["3"]}
    assert shown["clusters"].student[0].tolist() == [[3.0]]
