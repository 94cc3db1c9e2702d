"""Students as ONNX files, which ONNX Runtime runs without PyTorch."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from polydistill.contracts import Example, FloatArray, OnnxExportable, Student
from polydistill.embeddings.fidelity import cosines
from polydistill.errors import DataError, ParamsError, needs_extra
from polydistill.export._padding import drop_padding
from polydistill.project.files import put_in_place, write_atomic, written_to
from polydistill.students import encode, unit_length

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
        inputs: Names of the graph's inputs; tokens are padded on the right.
        preprocessing: How an example becomes these inputs.
        checked: The number of examples that were embedded by PyTorch and by the file.
        difference: The largest difference between their embeddings.
        cosine_int8: The lowest and the mean cosine similarity of embeddings of the int8 file to those of PyTorch; None
            without such a file.
    """

    student: str
    dim: int
    inputs: tuple[str, ...]
    preprocessing: Mapping[str, object]
    checked: int
    difference: float
    cosine_int8: tuple[float, float] | None


def save_onnx(
    student: Student, folder: str | Path, examples: Sequence[Example], *, int8: bool = False
) -> OnnxReport:
    """Write a student to a folder as `model.onnx`, and with `int8` also as `model_quantized.onnx`.

    The graph contains pooling and scaling to length one. Padded tokens of a batch are computed only in operators that
    combine tokens, such as attention, unless the embeddings depend on them. Beside the graph are `tokenizer.json`, for a
    student that reads tokens, and `onnx.json`, see `OnnxReport`. The int8 file is quantised dynamically: its weights
    have 8 bits, and the inputs of matrix products are quantised when it runs.

    Args:
        student: The student, on the CPU.
        folder: The folder to write; a folder of an earlier call is replaced.
        examples: Some real examples, with which the files are compared with the student.
        int8: Whether to write the int8 file too.

    Raises:
        ParamsError: The student cannot be exported to ONNX, or the folder cannot be written.
        DataError: The folder holds something else, no example has an embedding, or a file gives other embeddings.
        MissingExtraError: The packages onnx, onnxscript or onnxruntime are missing.
    """
    name = getattr(student, "name", type(student).__name__)
    if not isinstance(student, OnnxExportable):
        raise ParamsError(
            f"The student {name!r} cannot be exported to ONNX: choose one whose class has `onnx_module`."
        )
    some = list(examples[:CHECKED])
    own = unit_length(encode(student, some, BATCH))
    if not own.any():
        raise DataError(
            "`examples` must hold at least one example whose embedding is not zero, to compare the file with, got "
            f"{len(some)} without."
        )
    with needs_extra("A student as ONNX", "onnx"):
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    with written_to(folder) as target:
        if target.exists() and not (target / CARD).is_file() and any(target.iterdir()):
            raise DataError(f"{target} is not empty and holds no {CARD}: choose another folder.")
        target.parent.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(prefix=".polydistill-", dir=target.parent)
    with place:
        made = Path(place.name) / "onnx"
        made.mkdir()
        with _kept_mode(student.module), _exporting(name):
            report = _write(student, made, some, own, name=name, int8=int8)
        with written_to(folder):
            put_in_place(made, target)
    return report


def _write(
    student: Any, folder: Path, examples: list[Example], own: FloatArray, *, name: str, int8: bool
) -> OnnxReport:
    """Write all files to an empty folder, and compare them with the student's own embeddings."""
    for skips in (True, False):  # convolutions over tokens, as in ConvBERT, read padded tokens
        _export(student, student.onnx_module(), folder / MODEL, examples, skips_padding=skips)
        difference = float(np.abs(_run(student, folder / MODEL, examples) - own).max())
        if difference <= TOLERANCE:
            break
    else:
        raise DataError(
            f"{MODEL} gives other embeddings than the student: they differ by {difference:.2g}, at most {TOLERANCE:g} "
            "was expected. Please report this student."
        )
    similar = None
    if int8:
        if (quantized := student.int8_onnx_module()) is None:
            _quantize(folder)
        else:
            _export(student, quantized, folder / INT8, examples, skips_padding=skips)
        found = cosines(_run(student, folder / INT8, examples), own)
        similar = (round(float(found.min()), 4), round(float(found.mean()), 4))
        if not similar[1] >= LEAST_COSINE:
            raise DataError(
                f"With 8-bit weights, the student gives other embeddings: their mean cosine similarity is {similar[1]}, "
                f"at least {LEAST_COSINE} was expected. Omit `int8`."
            )
    if (tokenizer := student.onnx_tokenizer()) is not None:
        write_atomic(folder / TOKENIZER, tokenizer)
    report = OnnxReport(
        student=name,
        dim=student.dim,
        inputs=tuple(student.onnx_inputs(examples[:1])),
        preprocessing=student.onnx_preprocessing,
        checked=len(examples),
        difference=round(difference, 8),
        cosine_int8=similar,
    )
    write_atomic(folder / CARD, json.dumps(asdict(report), indent=2) + "\n")
    return report


def _export(
    student: OnnxExportable,
    module: nn.Module,
    file: Path,
    examples: list[Example],
    *,
    skips_padding: bool,
) -> None:
    inputs = student.onnx_inputs([*examples, *examples][:2])  # an axis of length one would be fixed
    axes = {
        name: {0: "batch", **({1: "tokens"} if tensor.ndim == 2 else {})}
        for name, tensor in inputs.items()
    }
    with _silent():
        program: Any = torch.onnx.export(
            module.eval(),
            kwargs=dict(inputs),
            dynamo=True,
            input_names=list(inputs),
            output_names=[OUTPUT],
            dynamic_shapes=axes,
            external_data=False,
            verbose=False,
        )
        graph = program.model.graph
        _keep_norms(graph)
        masks = [one for one in graph.inputs if one.name == "attention_mask"]
        if masks and skips_padding:
            drop_padding(graph, masks[0])
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


def _run(student: OnnxExportable, file: Path, examples: list[Example]) -> FloatArray:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    parts = []
    for start in range(0, len(examples), BATCH):
        inputs = student.onnx_inputs(examples[start : start + BATCH])
        feed = {name: tensor.numpy() for name, tensor in inputs.items()}
        parts.append(session.run([OUTPUT], feed)[0])
    return np.concatenate(parts)


@contextmanager
def _kept_mode(module: nn.Module) -> Iterator[None]:
    """Restore whether the module trains."""
    training = module.training
    try:
        yield
    finally:
        module.train(training)


@contextmanager
def _exporting(name: str) -> Iterator[None]:
    """Raise `ParamsError` with the name of the student instead of an error of the exporter or of ONNX Runtime."""
    try:
        yield
    except (DataError, OSError, MemoryError):
        raise
    except Exception as error:  # they raise many types
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        raise ParamsError(f"The student {name!r} cannot be exported to ONNX: {reason}.") from error


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
