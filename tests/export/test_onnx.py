"""Students as ONNX files: the same embeddings without PyTorch, an int8 twin, clear errors, nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
import pytest
import torch
import transformers
from tokenizers import Tokenizer

import polydistill
from polydistill.contracts import Student
from polydistill.errors import DataError, ParamsError
from polydistill.export.onnx import INT8, MODEL, OnnxReport, save_onnx
from polydistill.students import STUDENTS, encode
from tests.made_images import png
from tests.teachers.test_architectures import ARCHITECTURES, DIM, SIZES, save

TEXTS = ["", " ", "the cat sat", "a dog ran", "the dog ran the cat ran the dog", "a"]
MOLECULES = ["CCO", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "C"]


def build(name: str, tmp_path: Path) -> tuple[Student, Sequence[Any]]:
    """Return a small student with random weights, and examples for it."""
    draw = torch.Generator().manual_seed(0)
    checkpoint = str(save(tmp_path / "bert", "bert"))
    if name == "transformer":
        return STUDENTS.get(name).build((), draw, model=checkpoint, max_tokens=8), TEXTS
    if name == "static":
        options = {"tokenizer": f"{checkpoint}/tokenizer.json", "dim": 16}
        return STUDENTS.get(name).build(TEXTS, draw, **options), TEXTS
    if name == "bag-of-bytes":
        return STUDENTS.get(name).build((), draw, dim=16), TEXTS
    if name == "smiles-transformer":
        options = {"dim": 32, "layers": 2, "heads": 2, "min_count": 1}
        return STUDENTS.get(name).build(MOLECULES, draw, **options), MOLECULES
    encoder = {"model_type": "resnet", "hidden_sizes": [8], "depths": [1], "embedding_size": 8}
    student = STUDENTS.get("image-encoder").build((), draw, encoder=encoder, size=16, dim=8)
    return student, [png(seed) for seed in range(3)]


def unit(values: Any) -> Any:
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


STATIC = ("static", "bag-of-bytes")
ALL = (*STATIC, "transformer", "smiles-transformer", "image-encoder")
NOT_EXPORTABLE = {"gine"}


def test_the_students_of_this_file_are_all_that_can_be_exported() -> None:
    assert {*ALL} | NOT_EXPORTABLE == {*STUDENTS.names()}


@pytest.mark.parametrize("name", ALL)
def test_the_file_gives_the_embeddings_of_the_student(name: str, tmp_path: Path) -> None:
    student, examples = build(name, tmp_path)

    report = save_onnx(student, tmp_path / "onnx", examples)

    assert report.difference < 1e-5
    assert report.dim == student.dim
    assert report.checked == len(examples)
    written = json.loads((tmp_path / "onnx/onnx.json").read_text())
    assert OnnxReport(**{**written, "inputs": tuple(written["inputs"])}) == report
    assert not list(tmp_path.glob(".polydistill-*"))


@pytest.mark.parametrize("name", [*STATIC, "transformer"])
def test_tokenizers_and_onnx_runtime_alone_give_the_embeddings(name: str, tmp_path: Path) -> None:
    student, examples = build(name, tmp_path)
    report = save_onnx(student, tmp_path / "onnx", examples)

    tokenizer = Tokenizer.from_file(str(tmp_path / "onnx/tokenizer.json"))
    tokenizer.enable_padding()
    limit = report.preprocessing["max_tokens"]
    if isinstance(limit, int):
        tokenizer.enable_truncation(limit)
    read = tokenizer.encode_batch(
        examples, add_special_tokens=bool(report.preprocessing["add_special_tokens"])
    )
    feed = {
        "input_ids": np.array([one.ids for one in read], dtype=np.int64),
        "attention_mask": np.array([one.attention_mask for one in read], dtype=np.int64),
    }
    [found] = ort.InferenceSession(tmp_path / "onnx" / MODEL).run(["sentence_embedding"], feed)

    np.testing.assert_allclose(found, unit(encode(student, examples)), atol=1e-5)


@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta", "modernbert"])
@pytest.mark.parametrize("file", [MODEL, INT8])
def test_layer_normalisation_computes_no_padded_tokens(
    architecture: str, file: str, tmp_path: Path
) -> None:
    checkpoint = str(save(tmp_path / "checkpoint", architecture))
    draw = torch.Generator().manual_seed(0)
    student = STUDENTS.get("transformer").build((), draw, model=checkpoint, max_tokens=8)
    save_onnx(student, tmp_path / "onnx", TEXTS, int8=True)
    model = onnx.load(tmp_path / "onnx" / file)
    norms = [node for node in model.graph.node if node.op_type == "LayerNormalization"]
    model.graph.output.append(onnx.ValueInfoProto(name=norms[-1].output[0]))

    feed = {name: values.numpy() for name, values in student.onnx_inputs(TEXTS).items()}
    embeddings, tokens = ort.InferenceSession(model.SerializeToString()).run(None, feed)

    assert tokens.shape == (feed["attention_mask"].sum(), DIM)
    atol = 1e-5 if file == MODEL else 0.05
    np.testing.assert_allclose(embeddings, unit(encode(student, TEXTS)), atol=atol)


def test_a_batch_of_empty_masks_gives_zeros(tmp_path: Path) -> None:
    student, examples = build("transformer", tmp_path)
    save_onnx(student, tmp_path / "onnx", examples, int8=True)
    feed = {name: np.zeros((2, 3), np.int64) for name in ("input_ids", "attention_mask")}

    for file in (MODEL, INT8):
        [found] = ort.InferenceSession(tmp_path / "onnx" / file).run(None, feed)

        np.testing.assert_array_equal(found, np.zeros((2, student.dim)))


def test_an_architecture_whose_embeddings_depend_on_padded_tokens_computes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = transformers.ConvBertConfig(**SIZES, embedding_size=DIM)
    monkeypatch.setitem(ARCHITECTURES, "convbert", lambda: transformers.ConvBertModel(config))
    checkpoint = str(save(tmp_path / "checkpoint", "convbert"))
    draw = torch.Generator().manual_seed(0)
    student = STUDENTS.get("transformer").build((), draw, model=checkpoint, max_tokens=8)

    report = save_onnx(student, tmp_path / "onnx", TEXTS)

    assert report.difference < 1e-5
    operators = {node.op_type for node in onnx.load(tmp_path / "onnx" / MODEL).graph.node}
    assert "NonZero" not in operators


@pytest.mark.parametrize("name", ["static", "transformer", "image-encoder"])
def test_the_int8_file_is_similar(name: str, tmp_path: Path) -> None:
    student, examples = build(name, tmp_path)

    report = save_onnx(student, tmp_path / "onnx", examples, int8=True)

    assert report.cosine_int8 is not None
    lowest, mean = report.cosine_int8
    assert 0.9 < lowest <= mean <= 1
    weights = onnx.load(tmp_path / "onnx" / INT8).graph.initializer
    bytes_types = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    assert [one for one in weights if one.data_type in bytes_types and len(one.dims) > 1]


def test_the_mode_of_the_student_is_kept_and_an_error_of_the_exporter_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student, examples = build("image-encoder", tmp_path)
    student.module.train()

    save_onnx(student, tmp_path / "onnx", examples)

    assert student.module.training

    def unsupported(*_: Any, **__: Any) -> None:
        raise ValueError("no operator for aten::strange")

    monkeypatch.setattr(torch.onnx, "export", unsupported)
    with pytest.raises(
        ParamsError, match=r"'image-encoder' cannot be exported to ONNX: no operator"
    ):
        save_onnx(student, tmp_path / "other", examples)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bert", "onnx"]


def test_an_int8_file_that_loses_too_much_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student, examples = build("static", tmp_path)
    monkeypatch.setattr(
        type(student), "int8_onnx_module", lambda _: None
    )  # one scale for all tokens

    with pytest.raises(DataError, match="With 8-bit weights, the student gives other embeddings"):
        save_onnx(student, tmp_path / "onnx", examples, int8=True)

    assert not (tmp_path / "onnx").exists()


def test_a_student_without_a_graph_and_a_foreign_folder_are_refused(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    gine = STUDENTS.get("gine").build(MOLECULES, draw, dim=16, layers=1, hidden=16)
    with pytest.raises(ParamsError, match="'gine' cannot be exported to ONNX"):
        save_onnx(gine, tmp_path / "onnx", MOLECULES)
    student, examples = build("static", tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty"):
        save_onnx(student, tmp_path / "mine", examples)
    with pytest.raises(DataError, match="at least one example whose embedding is not zero"):
        save_onnx(student, tmp_path / "onnx", [])
    with pytest.raises(DataError, match="got 2 without"):
        save_onnx(student, tmp_path / "onnx", ["", " "])
    assert (tmp_path / "mine/notes.txt").read_text() == "mine"
    assert not (tmp_path / "onnx").exists()


def test_the_api_writes_a_student_as_onnx(tmp_path: Path) -> None:
    student, examples = build("static", tmp_path)
    student.save(tmp_path / "student")

    loaded = polydistill.load(tmp_path / "student", modality="text")
    first = loaded.save_onnx(tmp_path / "onnx", examples)

    assert loaded.save_onnx(tmp_path / "onnx", examples) == first
    assert loaded.save_onnx(tmp_path / "onnx", "a single text").checked == 1
    with pytest.raises(DataError, match="got a table"):
        loaded.save_onnx(tmp_path / "onnx", pd.DataFrame({"text": examples}))
    with pytest.raises(DataError, match="must be a list of examples"):
        loaded.save_onnx(tmp_path / "onnx", None)  # type: ignore[arg-type]
