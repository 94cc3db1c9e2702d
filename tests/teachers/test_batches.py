"""A text's embedding depends on no other text: alone, in any batch and in any order, for every family of text teachers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Pooling,
    StaticEmbedding,
    Transformer,
)
from tokenizers import Tokenizer
from transformers import AutoModel, RobertaConfig, RobertaModel

from polydistill.contracts import Teacher
from polydistill.data.modalities.text import TextModality
from polydistill.teachers.hashing import HashingTeacher
from polydistill.teachers.onnx import OnnxTeacher
from polydistill.teachers.precomputed import PrecomputedTeacher
from polydistill.teachers.sentence_transformers import SentenceTransformersTeacher
from polydistill.teachers.static_vectors import StaticVectorsTeacher
from polydistill.teachers.transformers import TransformersTeacher
from tests.tiny_bert import DIM, WORDS, save_tiny_bert

TEXTS = ["the cat sat", "a", "dog", "query: the dog ran the cat ran the dog", "the", "unheard word"]
MODES = ("mean", "cls", "max", "lasttoken", "weightedmean")


def transformer(folder: Path, kind: str) -> Path:
    """Save a tiny transformer: a BERT in any precision, or a RoBERTa, whose positions depend on the padding."""
    save_tiny_bert(folder)
    if kind == "roberta":
        torch.manual_seed(0)
        sizes: dict[str, Any] = {
            "vocab_size": len(WORDS),
            "hidden_size": DIM,
            "intermediate_size": DIM,
        }
        layers: dict[str, Any] = {
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 40,
        }
        RobertaModel(RobertaConfig(**sizes, **layers), add_pooling_layer=False).save_pretrained(
            folder
        )
    elif kind != "float32":
        AutoModel.from_pretrained(folder, dtype=getattr(torch, kind)).save_pretrained(folder)
    return folder


def own_modules(mode: str, folder: Path) -> Any:
    encoder = Transformer(str(save_tiny_bert(folder / "bert")))
    modules = [encoder, Pooling(DIM, pooling_mode=mode), Dense(DIM, 5)]
    saved = SentenceTransformer(modules=modules, prompts={"q": "query: "}, default_prompt_name="q")
    saved.save(str(folder / "saved"), create_model_card=False)
    return SentenceTransformersTeacher("tiny", 1, model=str(folder / "saved"))


def static(folder: Path) -> Any:
    tokenizer = Tokenizer.from_file(str(save_tiny_bert(folder / "bert") / "tokenizer.json"))
    saved = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=4)])
    saved.save(str(folder / "saved"), create_model_card=False)
    return SentenceTransformersTeacher("tiny", 1, model=str(folder / "saved"))


def onnx_graph(pooling: str, folder: Path) -> Any:
    """A graph that returns the embedding of each token, scaled by the number of its position."""
    onnx = pytest.importorskip("onnx")
    numbers = np.random.default_rng(0).normal(size=(len(WORDS), 4)).astype(np.float32)
    table = onnx.numpy_helper.from_array(numbers, "table")
    axes = onnx.numpy_helper.from_array(np.array([2]), "axes")
    exclusive = onnx.numpy_helper.from_array(np.array(1), "axis")
    make = onnx.helper.make_node
    nodes = [
        make("Gather", ["table", "input_ids"], ["tokens"]),
        make("CumSum", ["attention_mask", "axis"], ["positions"]),
        make("Cast", ["positions"], ["scale"], to=onnx.TensorProto.FLOAT),
        make("Unsqueeze", ["scale", "axes"], ["scales"]),
        make("Mul", ["tokens", "scales"], ["out"]),
    ]
    info = onnx.helper.make_tensor_value_info
    ids = [
        info(name, onnx.TensorProto.INT64, ["b", "t"]) for name in ("input_ids", "attention_mask")
    ]
    out = info("out", onnx.TensorProto.FLOAT, ["b", "t", 4])
    graph = onnx.helper.make_graph(nodes, "graph", ids, [out], [table, axes, exclusive])
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    save_tiny_bert(folder)
    onnx.save(model, folder / "model.onnx")
    return OnnxTeacher("tiny", 1, model=str(folder / "model.onnx"), pooling=pooling)


def words(folder: Path) -> Any:
    pd.DataFrame({"index": WORDS[4:]}).to_parquet(folder / "words.parquet")
    np.save(folder / "vectors.npy", np.random.default_rng(0).normal(size=(len(WORDS) - 4, 3)))
    paths = {"vocabulary": str(folder / "words.parquet"), "vectors": str(folder / "vectors.npy")}
    return StaticVectorsTeacher("tiny", 1, **paths, dim=3)


def table(folder: Path) -> Any:
    ids = [TextModality().content_id(text) for text in TEXTS[1:]]
    rows = np.random.default_rng(0).normal(size=(len(ids), 3)).astype(np.float32)
    pd.DataFrame({"id": ids, "embedding": list(rows)}).to_parquet(folder / "part.parquet")
    return PrecomputedTeacher("tiny", 1, folder=str(folder), dim=3)


def by_transformer(family: Any, kind: str, pooling: str, folder: Path) -> Any:
    return family("tiny", 1, model=str(transformer(folder, kind)), pooling=pooling)


FAMILIES: dict[str, Callable[[Path], Any]] = {
    **{
        f"{family.__name__} {kind} {pooling}": partial(by_transformer, family, kind, pooling)
        for family in (TransformersTeacher, SentenceTransformersTeacher)
        for kind in ("float32", "bfloat16", "float16", "roberta")
        for pooling in ("mean", "cls")
    },
    **{f"own {mode}": partial(own_modules, mode) for mode in MODES},
    **{f"onnx {mode}": partial(onnx_graph, mode) for mode in ("mean", "cls")},
    "static embedding": static,
    "static-vectors": words,
    "precomputed": table,
    "hashing": lambda _: HashingTeacher("hash", 1, dim=16),
}


@pytest.fixture(scope="module", params=FAMILIES)
def teacher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return FAMILIES[request.param](tmp_path_factory.mktemp("model"))


@given(rows=st.lists(st.sampled_from(range(len(TEXTS))), min_size=1, max_size=40))
@settings(max_examples=12, deadline=None)
def test_a_row_depends_on_no_other_row(teacher: Teacher, rows: list[int]) -> None:
    kind = TextModality()
    inputs = [kind.content_id(text) for text in TEXTS] if teacher.by_id else TEXTS
    alone = [teacher.embed([one]) for one in inputs]

    together = teacher.embed([inputs[row] for row in rows])

    assert together.present.tolist() == [bool(alone[row].present[0]) for row in rows]
    expected = np.concatenate([alone[row].values for row in rows])
    np.testing.assert_allclose(together.values, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_half_precision_files_are_half_precision(tmp_path: Path, kind: str) -> None:
    folder = transformer(tmp_path / "half", kind)

    assert kind in (folder / "config.json").read_text()
    shutil.rmtree(folder)
