"""Contract of every registered student."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
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

    theirs = sentence_transformers.SentenceTransformer(
        str(tmp_path), device="cpu", trust_remote_code=name == "smiles-transformer"
    ).encode(read_by(name))

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


def test_the_card_names_the_student_and_the_hash_of_every_other_file(tmp_path: Path) -> None:
    STUDENTS.get("bag-of-bytes").build([], torch.Generator(), dim=3).save(tmp_path)

    card = json.loads((tmp_path / "student.json").read_text())

    files = card.pop("files")
    assert card == {"dim": 3, "name": "bag-of-bytes"}
    assert set(files) == {path.name for path in tmp_path.iterdir()} - {"student.json"}
    assert files["model.safetensors"] == weights_digest(tmp_path)


def test_a_missing_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="run the distill stage"):
        load_student(tmp_path)


@pytest.fixture(scope="session")
def bundles(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle of every student."""
    root = tmp_path_factory.mktemp("bundles")
    for name in STUDENTS.names():
        build(name, checkpoint).save(root / name)
    return root


FAULTS: dict[str, Callable[[Path, random.Random], object]] = {
    "flipped": lambda path, draw: path.write_bytes(flipped(path.read_bytes(), draw)),
    "cut": lambda path, draw: os.truncate(path, draw.randrange(path.stat().st_size)),
    "emptied": lambda path, _: path.write_bytes(b""),
    "longer": lambda path, draw: path.write_bytes(path.read_bytes() + draw.randbytes(7)),
    "lost": lambda path, _: path.rename(path.with_name("moved")),
    "a folder": lambda path, _: replace_by_folder(path),
}


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def flipped(content: bytes, draw: random.Random) -> bytes:
    """Return the content with one other bit."""
    at = draw.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", STUDENTS.names())
def test_a_fault_in_any_file_of_a_bundle_is_refused(
    name: str, fault: str, bundles: Path, tmp_path: Path
) -> None:
    files = sorted(path for path in (bundles / name).rglob("*") if path.is_file())
    for number, file in enumerate(files):
        copy = shutil.copytree(bundles / name, tmp_path / str(number))
        FAULTS[fault](copy / file.relative_to(bundles / name), random.Random(number))

        with pytest.raises(DataError) as got:
            load_student(copy)

        assert file.name in str(got.value)
        assert len(str(got.value)) < 800


@pytest.mark.parametrize("name", STUDENTS.names())
def test_every_bit_of_a_card_counts(name: str, bundles: Path, tmp_path: Path) -> None:
    card = (bundles / name / "student.json").read_bytes()
    copy = shutil.copytree(bundles / name, tmp_path / "copy")
    for seed in range(40):
        wrong = flipped(card, random.Random(seed))
        with suppress(ValueError):
            if json.loads(wrong) == json.loads(card):  # white space
                continue
        (copy / "student.json").write_bytes(wrong)

        with pytest.raises(DataError, match=r"copy|student\.json"):
            load_student(copy)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
CARDS = JSON | st.fixed_dictionaries(
    {},
    optional={
        "name": JSON | st.sampled_from([*STUDENTS.names(), "Static", "static\n"]),
        "dim": JSON | st.integers(0, 9),
        "modality": JSON | st.just("text"),
        "files": JSON
        | st.dictionaries(
            st.sampled_from(
                ["/dev/zero", "../x", "a\0b", "model.safetensors", "x" * 300, "\ud800"]
            ),
            JSON,
        ),
    },
)


@given(CARDS | st.binary(max_size=60))
@example({"files": {"x" * 300: None}})
@example({"files": {"\ud800": None}})
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_other_card_is_refused(bundles: Path, content: object) -> None:
    with TemporaryDirectory() as place:
        copy = shutil.copytree(bundles / "bag-of-bytes", Path(place) / "copy")
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        (copy / "student.json").write_bytes(text)

        try:
            assert load_student(copy).dim == content["dim"] == 6  # type: ignore[index]
        except DataError as error:
            assert "student.json" in str(error) or "copy" in str(error)  # noqa: PT017


@given(
    st.binary(max_size=40)
    | st.builds(
        lambda size, header: size.to_bytes(8, "little") + header,
        st.sampled_from([0, 2, 99, 2**32, 2**63]),
        st.binary(max_size=40) | JSON.map(lambda one: json.dumps(one).encode()),
    )
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_other_weights_in_a_bundle_without_hashes_are_refused(
    bundles: Path, content: bytes
) -> None:
    with TemporaryDirectory() as place:
        copy = shutil.copytree(bundles / "bag-of-bytes", Path(place) / "copy")
        (copy / "student.json").write_text('{"dim": 6, "name": "bag-of-bytes"}')
        (copy / "model.safetensors").write_bytes(content)

        with pytest.raises(DataError, match="copy is damaged"):
            load_student(copy)


def test_a_bundle_of_an_earlier_release_loads_without_hashes(bundles: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundles / "static", tmp_path / "copy")
    expected = encode(load_student(copy), TEXTS)
    (copy / "student.json").write_text('{"dim": 6, "name": "static"}')

    np.testing.assert_array_equal(encode(load_student(copy), TEXTS), expected)


def test_the_card_of_another_student_is_refused(bundles: Path, tmp_path: Path) -> None:
    for name, other in itertools.permutations(STUDENTS.names(), 2):
        copy = shutil.copytree(bundles / name, tmp_path / f"{name} {other}")
        shutil.copy(bundles / other / "student.json", copy)
        with pytest.raises(DataError, match="damaged"):
            load_student(copy)
        (copy / "student.json").write_text(json.dumps({"dim": 7, "name": other}))
        with pytest.raises(DataError, match="damaged"):
            load_student(copy)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
@pytest.mark.parametrize("name", STUDENTS.names())
def test_the_files_follow_the_umask(
    name: str, umask: int, checkpoint: Path, tmp_path: Path
) -> None:
    student, before = build(name, checkpoint), os.umask(umask)
    try:
        student.save(tmp_path / "bundle")
    finally:
        os.umask(before)

    files = [path for path in (tmp_path / "bundle").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o666 & ~umask}
