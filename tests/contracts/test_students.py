"""Contract of every registered student."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from polydistill.contracts import Example, Student
from polydistill.errors import DataError, MissingDataError
from polydistill.students import STUDENTS, encode, load_student, weights_digest
from tests.made_images import TINY_RESNET, png

TEXTS = ["a cat sat", "", "the dog sat on a mat", "a cat sat", "unknown naïve words"]
MOLECULES = ["CCO", "C", "CC(=O)Oc1ccccc1C(=O)O", "CCO", "[Cl-].[Na+]"]
IMAGES = [png(1), png(2), png(3), png(1), png(4)]
READS: dict[str, list[Example]] = {
    "gine": [*MOLECULES],
    "smiles-transformer": [*MOLECULES],
    "image-encoder": [*IMAGES],
}
NO_SENTENCE_TRANSFORMER = {"gine", "image-encoder"}
"""Students that are not sentence-transformers models, because the library has no module for their input."""
UNKNOWN = "[UNK]"
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token")
SPECIAL = dict(zip(ROLES, ("[PAD]", UNKNOWN, "[CLS]", "[SEP]"), strict=True))
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "dog", "mat", "on", "sat", "the"]
IMAGES = [png(1), png(2), png(3), png(1), png(4)]
EXAMPLES: dict[str, list[Example]] = {"image-encoder": [*IMAGES]}
"""Examples by student. The other students read texts and are sentence-transformers models."""


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny BERT with random weights, and its tokenizer."""
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    tokenizer = Tokenizer(models.WordPiece({w: n for n, w in enumerate(WORDS)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def options(name: str, checkpoint: Path) -> dict[str, object]:
    by_name: dict[str, dict[str, object]] = {
        "bag-of-bytes": {"dim": 6},
        "static": {
            "tokenizer": str(checkpoint / "tokenizer.json"),
            "initial": str(checkpoint),
            "dim": 6,
        },
        "transformer": {"model": str(checkpoint), "layers": [0, 2]},
        "gine": {"dim": 6, "layers": 2, "hidden": 8},
        "smiles-transformer": {"dim": 8, "layers": 2, "heads": 2, "min_count": 1},
        "image-encoder": {"encoder": TINY_RESNET, "size": 32, "dim": 6},
    }
    return by_name[name]


def read_by(name: str) -> list[Example]:
    return READS.get(name, [*TEXTS])


def build(name: str, checkpoint: Path, seed: int = 0, **changes: object) -> Student:
    generator = torch.Generator().manual_seed(seed)
    student: Student = STUDENTS.get(name).build(
        read_by(name), generator, **(options(name, checkpoint) | changes)
    )
    return student


@pytest.mark.parametrize("name", STUDENTS.names())
def test_embeds_examples_in_order_and_equal_examples_equally(name: str, checkpoint: Path) -> None:
    student = build(name, checkpoint)

    embeddings = encode(student, read_by(name), batch_size=2)

    assert embeddings.shape == (len(read_by(name)), student.dim)
    assert embeddings.dtype == np.float32
    assert np.isfinite(embeddings).all()
    np.testing.assert_allclose(embeddings[0], embeddings[3], atol=1e-6)
    np.testing.assert_allclose(encode(student, read_by(name)[::-1])[::-1], embeddings, atol=1e-6)
    assert not np.allclose(embeddings[0], embeddings[2])


@pytest.mark.parametrize("name", STUDENTS.names())
def test_an_empty_batch_gives_no_rows(name: str, checkpoint: Path) -> None:
    student = build(name, checkpoint)

    assert encode(student, []).shape == (0, student.dim)


@pytest.mark.parametrize("name", STUDENTS.names())
def test_saving_and_loading_keeps_the_embeddings(
    name: str, checkpoint: Path, tmp_path: Path
) -> None:
    student = build(name, checkpoint)
    student.save(tmp_path)

    loaded = load_student(tmp_path)

    assert loaded.dim == student.dim
    np.testing.assert_array_equal(encode(loaded, read_by(name)), encode(student, read_by(name)))


@pytest.mark.parametrize("name", STUDENTS.names())
def test_saving_is_reproducible_and_writes_no_pickle(
    name: str, checkpoint: Path, tmp_path: Path
) -> None:
    for place in ("first", "second"):
        build(name, checkpoint).save(tmp_path / place)
    load_student(tmp_path / "first").save(tmp_path / "again")

    files = sorted(p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*.*"))
    assert {path.suffix for path in files if "Pooling" not in path.name} <= {
        ".json",
        ".safetensors",
    }
    for path in files:
        if (tmp_path / "first" / path).is_file():
            content = (tmp_path / "first" / path).read_bytes()
            assert (tmp_path / "second" / path).read_bytes() == content, path
            assert (tmp_path / "again" / path).read_bytes() == content, path
    assert weights_digest(tmp_path / "first") == weights_digest(tmp_path / "again")


@pytest.mark.parametrize("name", sorted(set(STUDENTS.names()) - NO_SENTENCE_TRANSFORMER))
def test_loads_as_a_sentence_transformer(name: str, checkpoint: Path, tmp_path: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    student = build(name, checkpoint)
    student.save(tmp_path)

    theirs = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu").encode(
        read_by(name)
    )

    np.testing.assert_allclose(theirs, encode(student, read_by(name)), atol=1e-5)


@pytest.mark.parametrize("name", STUDENTS.names())
def test_is_trainable_and_restores_its_mode(name: str, checkpoint: Path) -> None:
    student = build(name, checkpoint)
    student.module.train()
    encode(student, read_by(name))

    student.forward(student.collate(read_by(name))).square().sum().backward()

    assert student.module.training
    assert any(
        weight.grad is not None and weight.grad.abs().sum() > 0
        for weight in student.module.parameters()
    )


def test_the_model_card_names_the_student(tmp_path: Path) -> None:
    STUDENTS.get("bag-of-bytes").build([], torch.Generator(), dim=3).save(tmp_path)

    card = json.loads((tmp_path / "student.json").read_text())

    assert card == {"dim": 3, "name": "bag-of-bytes"}


def test_a_missing_or_damaged_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="run the distill stage"):
        load_student(tmp_path)
    (tmp_path / "student.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        load_student(tmp_path)
