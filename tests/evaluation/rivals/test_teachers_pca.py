from __future__ import annotations

import numpy as np

from polydistill.contracts import Embeddings
from polydistill.evaluation.rivals import TeacherTables
from polydistill.evaluation.rivals.teachers_pca import TeachersPca
from tests.evaluation.rivals.rival_tasks import rival_data

IDS = ["a", "b", "c"]


def tables(seed: int, dim: int, missing: int | None = None, scale: float = 1.0) -> TeacherTables:
    generator = np.random.default_rng(seed)
    basis = generator.normal(size=(2, dim))
    parts = []
    for rows in (40, 3):
        values = (generator.normal(size=(rows, 2)) @ basis * scale).astype(np.float32)
        present = np.ones(rows, dtype=np.bool_)
        if missing is not None:
            present[missing], values[missing] = False, 0
        parts.append(Embeddings(values, present))
    return TeacherTables({"seed": seed}, *parts)


def unit(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


def test_cosines_are_those_of_the_centred_concatenation_if_nothing_is_cut_off() -> None:
    teachers = {"one": tables(0, 6), "two": tables(1, 3)}

    found = TeachersPca(rival_data(IDS, teachers, dim=9))._encoder.look_up(IDS)

    corpus, inputs = (
        np.hstack([unit(getattr(one, part).values) for one in teachers.values()])
        for part in ("corpus", "benchmark")
    )
    centred = unit(inputs - corpus.mean(axis=0))
    np.testing.assert_allclose(found @ found.T, centred @ centred.T, atol=1e-5)


def test_it_has_the_students_width() -> None:
    teachers = {"one": tables(0, 6), "two": tables(1, 3)}

    assert TeachersPca(rival_data(IDS, teachers, dim=2))._encoder.look_up(IDS).shape == (3, 2)


def test_teachers_count_the_same_at_any_scale() -> None:
    same, scaled = (
        TeachersPca(rival_data(IDS, {"one": tables(0, 6), "two": tables(1, 3, scale=scale)}, dim=4))
        for scale in (1.0, 50.0)
    )

    np.testing.assert_allclose(same._encoder.look_up(IDS), scaled._encoder.look_up(IDS), atol=1e-4)


def test_only_an_input_that_no_teacher_embeds_is_missing() -> None:
    one_lacks = {"one": tables(0, 6, missing=1), "two": tables(1, 3)}
    both_lack = {"one": tables(0, 6, missing=1), "two": tables(1, 3, missing=1)}

    assert TeachersPca(rival_data(IDS, one_lacks)).n_missing == 0
    assert TeachersPca(rival_data(IDS, both_lack)).n_missing == 1


def test_the_revision_depends_on_the_teachers() -> None:
    one, other = (TeachersPca(rival_data(IDS, {"one": tables(seed, 6)})) for seed in (0, 1))

    assert one.revision != other.revision
