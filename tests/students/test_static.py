from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from polydistill.errors import MissingDataError
from polydistill.students import encode
from polydistill.students.static import StaticStudent, _principal_components

UNKNOWN = "[UNK]"
WORDS = ["[UNK]", "often", "seldom", "never"]


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    words = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token=UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    return str(tmp_path / "tokenizer.json")


def build(tokenizer: str, seed: int = 0, **options: object) -> StaticStudent:
    generator = torch.Generator().manual_seed(seed)
    corpus = ["often often often seldom"] * 3
    return StaticStudent.build(corpus, generator, tokenizer=tokenizer, dim=8, **options)  # type: ignore[arg-type]


def test_an_embedding_is_the_mean_of_its_tokens(tokenizer: str) -> None:
    student = build(tokenizer)

    both, often, seldom = encode(student, ["often seldom", "often", "seldom"])

    np.testing.assert_allclose(both, (often + seldom) / 2, atol=1e-6)


def test_frequent_tokens_have_lower_weights(tokenizer: str) -> None:
    even = build(tokenizer, frequency_smoothing=1e9).module.weight.norm(dim=1)
    weighted = build(tokenizer, frequency_smoothing=0.25).module.weight.norm(dim=1)

    # a / (a + p): 0.25 / (0.25 + 0.75) = 1/4 and 0.25 / (0.25 + 0.25) = 1/2
    ratio = (weighted / weighted[3]) / (even / even[3])
    torch.testing.assert_close(ratio.detach(), torch.tensor([1.0, 0.25, 0.5, 1.0]))


def test_the_corpus_embeddings_have_unit_root_mean_square(tokenizer: str) -> None:
    student = build(tokenizer)

    size = np.sqrt(np.square(encode(student, ["often often often seldom"])).mean())

    assert abs(size - 1) < 1e-5


def test_tokens_beyond_the_maximum_are_dropped(tokenizer: str) -> None:
    student = build(tokenizer, max_tokens=2)

    long, short = encode(student, ["often seldom never never", "often seldom"])

    np.testing.assert_array_equal(long, short)


def test_principal_components_preserve_distances_best() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 6)) * np.array([5, 4, 3, 0.1, 0.1, 0.1])

    reduced = _principal_components(vectors.astype(np.float32), 3)

    kept = reduced.var(axis=0)
    assert (np.diff(kept) < 0).all()
    assert kept.sum() / vectors.var(axis=0).sum() > 0.99


def test_random_embeddings_depend_on_the_generator(tokenizer: str) -> None:
    first, same, other = build(tokenizer), build(tokenizer), build(tokenizer, seed=1)

    assert torch.equal(first.module.weight, same.module.weight)
    assert not torch.equal(first.module.weight, other.module.weight)


@given(ids=st.lists(st.integers(0, 60), min_size=4, max_size=4, unique=True), added=st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_table_has_a_row_for_every_id_of_a_tokenizer_with_holes(
    ids: list[int],
    added: bool,  # noqa: FBT001
) -> None:
    words = Tokenizer(models.WordLevel(dict(zip(WORDS, ids, strict=True)), unk_token=UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if added:
        words.add_tokens(["extra"])
    with tempfile.TemporaryDirectory() as folder:
        words.save(f"{folder}/tokenizer.json")
        student = build(f"{folder}/tokenizer.json")

    assert len(student.module.weight) == max(words.get_vocab().values()) + 1
    assert np.isfinite(encode(student, [*WORDS, "extra", "unheard"])).all()


def test_a_missing_tokenizer_is_named() -> None:
    with pytest.raises(MissingDataError, match=json.dumps("nowhere.json")[1:-1]):
        build("nowhere.json")
