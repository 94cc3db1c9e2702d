from __future__ import annotations

import numpy as np

from polydistill.teachers.hashing import HashingTeacher


def test_similar_spellings_are_near_and_names_make_teachers_differ() -> None:
    cat, cats, dog = HashingTeacher("one", 1).embed(["the cat sat", "the cats sat", "zzz"]).values

    assert cat @ cats > cat @ dog
    assert np.abs(cat - HashingTeacher("two", 1).embed(["the cat sat"]).values[0]).max() > 0.1
    assert HashingTeacher("one", 1).identity != HashingTeacher("two", 1).identity


def test_bytes_and_the_empty_example_have_embeddings() -> None:
    values = HashingTeacher("one", 1).embed([b"\x00\xff\x10", ""]).values

    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, rtol=1e-6)
