"""Texts with equal content ids get equal vectors: every student, text teacher and way to read a text."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import polydistill
from polydistill.config.data import CorpusParams
from polydistill.contracts import Example, Student
from polydistill.data.modalities.text import TextModality
from polydistill.data.tables import as_examples, read_corpus, read_examples
from polydistill.export.student import Student as Loaded
from polydistill.students import encode, load_student
from polydistill.students.bag_of_bytes import TOKENIZER, BagOfBytesStudent
from polydistill.students.static import StaticStudent
from polydistill.students.transformer import TransformerStudent
from polydistill.teachers.hashing import HashingTeacher
from polydistill.teachers.sentence_transformers import SentenceTransformersTeacher
from polydistill.teachers.static_vectors import StaticVectorsTeacher
from polydistill.teachers.transformers import TransformersTeacher

TEXT = TextModality()
ENDS = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]
MARKED = "aeiou" + "éüñçåÅố각韓\ufa0aगि๑\u0627" + "\u0301\u0327\u0302\u1100\u1161\u200d" + "🙂 -_9A"
LETTERS = st.sampled_from(MARKED)
ENCODERS = ["bag-of-bytes", "static", "transformer"]
Encode = Callable[[Sequence[Example]], np.ndarray]
QUICK = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def spellings(draw: st.DrawFn) -> list[Example]:
    """Draw one text in several spellings that have one content id."""
    text = draw(st.text(LETTERS, min_size=1, max_size=12).filter(str.strip))
    ends = st.text(st.sampled_from(ENDS), max_size=2)
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    texts = [draw(ends) + form + draw(ends) for form in (text, *forms)]
    return [*texts, texts[-1].encode()]


batches = st.lists(spellings(), min_size=1, max_size=3)


def same_rows(encoder: Encode, batch: list[list[Example]], order: np.random.Generator) -> None:
    """Check that each spelling, alone and in a shuffled batch, has the vector of the first."""
    flat = [(row, one) for row, some in enumerate(batch) for one in some]
    shuffled = [flat[place] for place in order.permutation(len(flat))]
    together = encoder([one for _, one in shuffled])
    for (row, one), vector in zip(shuffled, together, strict=True):
        alone = encoder([batch[row][0]])[0]
        np.testing.assert_allclose(vector, alone, atol=1e-5, err_msg=repr(one))


def strings(batch: list[list[Example]]) -> list[list[Example]]:
    return [[one for one in some if isinstance(one, str)] for some in batch]


@pytest.fixture(scope="module")
def byte_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT whose tokens are single bytes, so that it sees every difference of two texts."""
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("byte-bert")
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.normalizer = None
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="!", unk_token="!")  # noqa: S106
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=256,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=512,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bundles(byte_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    generator = torch.Generator().manual_seed(0)
    built: dict[str, Student] = {
        "bag-of-bytes": BagOfBytesStudent.build([], generator, dim=4),
        "static": StaticStudent.build(
            ["a"], generator, tokenizer=str(byte_bert / "tokenizer.json"), dim=4
        ),
        "transformer": TransformerStudent.build([], generator, model=str(byte_bert)),
    }
    folder = tmp_path_factory.mktemp("bundles")
    for name, student in built.items():
        student.save(folder / name)
    return {name: folder / name for name in built}


def test_the_byte_tokens_see_the_difference(bundles: dict[str, Path]) -> None:
    student = BagOfBytesStudent.load(bundles["bag-of-bytes"])

    composed, apart = (student.forward(student.collate([one.encode()])) for one in ("é", "e\u0301"))

    assert not torch.allclose(composed, apart)


@QUICK
@given(batch=batches, seed=st.integers(0, 9))
@pytest.mark.parametrize("name", ENCODERS)
def test_a_student_and_the_api(
    name: str, bundles: dict[str, Path], batch: list[list[Example]], seed: int
) -> None:
    student, loaded = load_student(bundles[name]), Loaded(bundles[name], "text")
    order = np.random.default_rng(seed)

    same_rows(lambda some: encode(student, as_examples(some, TEXT)), batch, order)
    same_rows(lambda some: encode(student, list(some)), strings(batch), order)
    same_rows(lambda some: loaded.encode(list(some)), batch, order)


@cache
def ways_in(bundle: Path) -> dict[str, Encode]:
    """Return functions that embed texts with a bundle: as the API, `polydistill encode`, MLflow and its library do."""
    pytest.importorskip("mlflow")
    library = pytest.importorskip("sentence_transformers")
    from polydistill.integrations.mlflow.bundle import load_model
    from polydistill.integrations.mlflow.pyfunc_student import StudentModel

    model, of_command = StudentModel(), load_model(bundle.parent, str(bundle))
    config = {"modality": "text"}
    model.load_context(SimpleNamespace(model_config=config, artifacts={"student": str(bundle)}))
    table = cast("Any", model.predict)

    def of_file(some: Sequence[Example]) -> np.ndarray:
        with NamedTemporaryFile(suffix=".txt") as file:
            lines = [str(one).translate({10: " ", 13: " "}) for one in some]
            Path(file.name).write_text("\n".join(lines), encoding="utf-8", newline="")
            return of_command(read_examples(Path(file.name), TEXT))

    return {
        "API": polydistill.load(bundle, modality="text").encode,
        "encode": of_file,
        "registered model": lambda some: table(None, pd.DataFrame({"id": 0, "text": list(some)})),
        "sentence-transformers": library.SentenceTransformer(str(bundle), device="cpu").encode,
    }


@QUICK
@given(batch=batches, seed=st.integers(0, 9))
@pytest.mark.parametrize("name", ENCODERS)
def test_all_ways_in_give_equal_vectors(
    name: str, bundles: dict[str, Path], batch: list[list[Example]], seed: int
) -> None:
    student, texts = load_student(bundles[name]), [one for some in strings(batch) for one in some]

    for way, embed in ways_in(bundles[name]).items():
        np.testing.assert_allclose(embed(texts), encode(student, texts), atol=1e-5, err_msg=way)
        same_rows(embed, strings(batch), np.random.default_rng(seed))


@pytest.fixture(scope="module")
def teachers(byte_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("words")
    pd.DataFrame({"index": ["é", "각", "a", "गि", "ü"]}).to_parquet(folder / "words.parquet")
    np.save(folder / "vectors.npy", np.eye(5, dtype=np.float32))
    vocabulary, vectors = str(folder / "words.parquet"), str(folder / "vectors.npy")
    return [
        TransformersTeacher("t", 1, model=str(byte_bert), dim=8),
        SentenceTransformersTeacher("t", 1, model=str(byte_bert), dim=8, pooling="cls"),
        StaticVectorsTeacher("t", 1, vocabulary=vocabulary, vectors=vectors, dim=5),
    ]


def values_of(teacher: Any, some: Sequence[Example]) -> np.ndarray:
    return np.asarray(teacher.embed(some).values)


@QUICK
@given(batch=batches, seed=st.integers(0, 9))
def test_text_teachers(teachers: list[Any], batch: list[list[Example]], seed: int) -> None:
    for teacher in teachers:
        same_rows(partial(values_of, teacher), batch, np.random.default_rng(seed))


@QUICK
@given(some=spellings())
def test_files_and_tables_give_one_example(tmp_path: Path, some: list[Example]) -> None:
    canonical = TEXT.coerce(some[0])
    frame = pd.DataFrame({"text": some[:3]})
    frame.to_parquet(tmp_path / "own.parquet")
    frame.assign(id=[TEXT.content_id(one) for one in some[:3]]).to_parquet(tmp_path / "ids.parquet")
    pd.DataFrame({"text": [one.encode() for one in frame["text"]]}).to_parquet(
        tmp_path / "binary.parquet"
    )
    lines = [str(one).translate({10: " ", 13: " "}) for one in some[:3]]
    (tmp_path / "lines.txt").write_text("\n".join(lines), encoding="utf-8", newline="")

    read = {
        name: read_corpus(tmp_path, CorpusParams(path=name), TEXT)["text"]
        for name in ("own.parquet", "ids.parquet", "binary.parquet")
        if canonical
    }

    assert all(set(examples) == {canonical} for examples in read.values())
    assert set(read_examples(tmp_path / "lines.txt", TEXT)) == {canonical}


def test_a_teacher_of_the_users_own_gets_the_canonical_text() -> None:
    salted = HashingTeacher(name="t", threads=1)

    rows = salted.embed(as_examples([" é", "e\u0301\n"], TEXT)).values

    np.testing.assert_array_equal(rows[0], rows[1])
