"""Students as ONNX files, which ONNX Runtime runs without PyTorch."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polydistill.contracts import Example, FloatArray, HasGraph, Student
from polydistill.embeddings.fidelity import cosines
from polydistill.errors import DataError, ParamsError, needs_extra
from polydistill.project.files import put_in_place, write_atomic, written_to
from polydistill.students import encode

MODEL, INT8, CARD, OUTPUT = "model.onnx", "model_quantized.onnx", "onnx.json", "sentence_embedding"
"""Names of the files, as in transformers.js and sentence-transformers, and of the graph's output."""
TOKENIZER = "tokenizer.json"
TOLERANCE = 1e-4
"""Largest difference between an embedding of PyTorch and of the file, both of length one."""
LEAST_COSINE = 0.98
"""Minimum mean cosine similarity of the int8 file's embeddings to the student's."""
CHECKED = 256
"""Maximum number of examples that are compared."""
BATCH = 32


@dataclass(frozen=True)
class OnnxReport:
    """The content of `onnx.json`.

    Attributes:
        student: The plug-in name of the student.
        dim: Width of the embeddings, which have length one.
        inputs: Names of the graph's inputs. Tokens are padded on the right.
        max_tokens: The number of tokens after which a text must be truncated; None: no limit, or no tokens.
        add_special_tokens: Whether the tokenizer must add special tokens; None: no tokens.
        checked: The number of examples that were embedded by PyTorch and by the file.
        difference: The largest difference between their embeddings.
        cosine_int8: The lowest and the mean cosine similarity of embeddings of the int8 file to those of PyTorch; None
            without such a file.
    """

    student: str
    dim: int
    inputs: tuple[str, ...]
    max_tokens: int | None
    add_special_tokens: bool | None
    checked: int
    difference: float
    cosine_int8: tuple[float, float] | None


def save_onnx(
    student: Student, folder: str | Path, examples: Sequence[Example], *, int8: bool = False
) -> OnnxReport:
    """Write a student to a folder as `model.onnx`, and with `int8` also as `model_quantized.onnx`.

    The graph contains pooling and scaling to length one. Beside it are `tokenizer.json`, for a student that reads
    tokens, and `onnx.json`, see `OnnxReport`. The int8 file has 8-bit weights; inputs of matrix products are rounded to 8
    bits when it runs.

    Args:
        student: The student.
        folder: The folder to write; files of an earlier call are replaced.
        examples: Some real examples, with which the files are compared with the student.
        int8: Whether to write the int8 file too.

    Raises:
        ParamsError: The student has no form in ONNX, or the folder cannot be written.
        DataError: The folder holds something else, no example has an embedding, or a file gives other embeddings.
        MissingExtraError: The packages onnx, onnxscript or onnxruntime are missing.
    """
    name = getattr(student, "name", type(student).__name__)
    if not isinstance(student, HasGraph):
        raise ParamsError(
            f"The student {name!r} cannot be written as ONNX: choose static or transformer for texts, image-encoder for "
            "images, smiles-transformer for molecules."
        )
    some = list(examples[:CHECKED])
    if not some:
        raise DataError(
            "`examples` must hold at least one example to compare the file with, got none."
        )
    with needs_extra("A student as ONNX", "onnx"):
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    with written_to(folder) as target:
        if target.exists() and not (target / CARD).is_file() and any(target.iterdir()):
            raise DataError(f"{target} is not empty and holds no {CARD}: choose another folder.")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".polydistill-", dir=target.parent) as place:
            made = Path(place) / "onnx"
            made.mkdir()
            report = _write(student, made, some, name, int8=int8)
            put_in_place(made, target)
    return report


def _write(
    student: Any, folder: Path, examples: list[Example], name: str, *, int8: bool
) -> OnnxReport:
    """Write all files to an empty folder, and compare them with the student."""
    _export(student, student.graph(), folder / MODEL, examples)
    own = _unit(encode(student, examples, BATCH))
    if not own.any():
        raise DataError(
            "`examples` must hold an example whose embedding is not zero, to compare the file with; got only examples "
            "without tokens."
        )
    difference = float(np.abs(_run(student, folder / MODEL, examples) - own).max())
    if not difference <= TOLERANCE:
        raise DataError(
            f"{MODEL} gives other embeddings than the student: they differ by {difference:.2g}, at most {TOLERANCE:g} "
            "was expected. Please report this student."
        )
    similar = None
    if int8:
        if (rounded := student.int8_graph()) is None:
            _quantize(folder)
        else:
            _export(student, rounded, folder / INT8, examples)
        found = cosines(_run(student, folder / INT8, examples), own)
        similar = (round(float(found.min()), 4), round(float(found.mean()), 4))
        if not similar[1] >= LEAST_COSINE:
            raise DataError(
                f"With 8-bit weights, the student gives other embeddings: their mean cosine similarity is {similar[1]}, "
                f"at least {LEAST_COSINE} was expected. Omit `int8`."
            )
    with tempfile.TemporaryDirectory() as place:
        bundle = Path(place)
        student.save(bundle)
        has_tokens = (bundle / TOKENIZER).is_file()
        if has_tokens:
            shutil.copyfile(bundle / TOKENIZER, folder / TOKENIZER)
    inputs = tuple(student.graph_inputs(examples[:1]))
    report = OnnxReport(
        student=name,
        dim=student.dim,
        inputs=inputs,
        max_tokens=student.max_tokens,
        add_special_tokens=student.special_tokens if has_tokens else None,
        checked=len(examples),
        difference=round(difference, 8),
        cosine_int8=similar,
    )
    write_atomic(folder / CARD, json.dumps(asdict(report), indent=2) + "\n")
    return report


def _export(student: HasGraph, graph: torch.nn.Module, file: Path, examples: list[Example]) -> None:
    inputs = student.graph_inputs(examples[:2] if len(examples) > 1 else examples * 2)
    axes = {
        name: {0: "batch", **({1: "tokens"} if tensor.ndim == 2 else {})}
        for name, tensor in inputs.items()
    }
    with _silent():
        program: Any = torch.onnx.export(
            graph.eval(),
            kwargs=dict(inputs),
            dynamo=True,
            input_names=list(inputs),
            output_names=[OUTPUT],
            dynamic_shapes=axes,
            external_data=False,
            verbose=False,
        )
        _keep_norms(program.model.graph)
        program.save(file)


def _keep_norms(graph: Any) -> None:
    """Write the sums before layer normalisation as `Sum`, the same as `Add`.

    ONNX Runtime joins `Add` and `LayerNormalization` to one operator that takes several times as long as the two.
    """
    for node in graph:
        before = node.inputs[0].producer() if node.op_type == "LayerNormalization" else None
        if before is not None and before.op_type == "Add":
            before.op_type = "Sum"


def _quantize(folder: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _silent():
        quantize_dynamic(
            folder / MODEL, folder / INT8, weight_type=QuantType.QInt8, per_channel=True
        )


def _run(student: HasGraph, file: Path, examples: list[Example]) -> FloatArray:
    import onnxruntime as ort

    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    parts = []
    for start in range(0, len(examples), BATCH):
        inputs: dict[str, Tensor] = student.graph_inputs(examples[start : start + BATCH])
        feed = {name: tensor.cpu().numpy() for name, tensor in inputs.items()}
        parts.append(session.run([OUTPUT], feed)[0])
    return np.concatenate(parts)


def _unit(values: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(lengths, 1e-12), dtype=np.float32)


@contextmanager
def _silent() -> Iterator[None]:
    """Hide the notes of the exporter, which concern its own code."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
