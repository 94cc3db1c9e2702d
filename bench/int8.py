"""A transformer student as an int8 ONNX file, against the same student in PyTorch, on one thread."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch

from bench._project import TRANSFORMER, open_student, read_project, read_texts
from bench.measure import Row, compare_medians, seconds_in_turn
from polydistill.export.onnx import CHECKED, INT8, save_onnx
from polydistill.students import encode

N_TEXTS, PAIRS, GOAL = 512, 5, "at least 3"


def run() -> list[Row]:
    """Embed texts of the corpus in batches of 1 and of 32, tokenisation included."""
    params = read_project()
    student = open_student(params, TRANSFORMER)
    texts = read_texts(params, N_TEXTS)
    torch.set_num_threads(1)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "onnx"
        report = save_onnx(student, folder, texts[:CHECKED], int8=True)
        session = ort.InferenceSession(folder / INT8, options)
    rows = []
    for size in (1, 32):

        def ours(size: int = size) -> None:
            for start in range(0, len(texts), size):
                inputs = student.onnx_inputs(texts[start : start + size])  # type: ignore[attr-defined]
                session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})

        def peer(size: int = size) -> None:
            encode(student, texts, size)

        seconds = seconds_in_turn([ours, peer], PAIRS)
        rows.append(
            compare_medians(
                f"int8: three-layer transformer in ONNX Runtime, batches of {size}, against PyTorch in float32; mean "
                f"cosine {(report.cosine_int8 or (0, 0))[1]:.3f}",
                np.asarray(seconds[0]),
                np.asarray(seconds[1]),
                GOAL,
            )
        )
    return rows
