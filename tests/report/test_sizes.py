from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from polydistill.config.data import TeacherParams
from polydistill.report.costs import Size, teacher_size, weights_size
from polydistill.teachers import build_teacher
from polydistill.teachers.hashing import HashingTeacher


def test_a_folder_counts_one_format_only(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5)}, tmp_path / "model.safetensors")
    (tmp_path / "model.onnx").write_bytes(b"0" * 999)

    size = weights_size(tmp_path)

    stored = (tmp_path / "model.safetensors").stat().st_size
    assert size == Size(weight_bytes=stored, n_parameters=17)


def test_an_array_counts_its_numbers_and_an_onnx_file_only_its_bytes(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.zeros((6, 7), np.float32))
    (tmp_path / "model.onnx").write_bytes(b"0" * 999)

    assert weights_size(tmp_path / "vectors.npy").n_parameters == 42
    assert weights_size(tmp_path / "model.onnx") == Size(999, None)


def test_a_teacher_whose_weights_are_elsewhere_has_no_size(tmp_path: Path) -> None:
    teacher = HashingTeacher("hashing", 1)
    gone = TeacherParams.model_validate({"family": "onnx", "model": str(tmp_path / "gone.onnx")})

    assert teacher_size(TeacherParams(family="hashing"), teacher) == Size()
    assert teacher_size(gone, teacher) == Size()


def test_a_model_behind_a_server_has_no_size_even_if_its_name_is_a_folder_here(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "table.npy", np.zeros((2, 2)))
    options = {"url": "http://localhost/v1", "model": str(tmp_path), "dim": 2}
    row = TeacherParams.model_validate({"family": "embeddings-server", **options})
    teacher = build_teacher("served", row.family, {**options, "revision": "one"}, 1)

    assert teacher_size(row, teacher) == Size()


def test_an_onnx_graph_counts_its_weights_however_they_are_written(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 5], np.zeros(15, np.float32))
    scale = helper.make_tensor("s", TensorProto.FLOAT, [5], np.zeros(5, np.float32))
    shape = helper.make_tensor("d", TensorProto.INT64, [2], np.ones(2, np.int64))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 5]) for name in "xy"]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Constant", [], ["c"], value=scale),
        helper.make_node("Add", ["z", "c"], ["y"]),
    ]
    save(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [weights, shape])), tmp_path / "m.onnx")  # fmt: skip

    assert weights_size(tmp_path / "m.onnx").n_parameters == 20


def test_several_files_are_added_and_a_teacher_may_say_what_of_them_it_runs(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).write_bytes(b"0" * 100)
    row = TeacherParams.model_validate(
        {"family": "dmpnn", "checkpoints": [str(tmp_path / name) for name in ("a.pt", "b.pt")]}
    )

    class Partly(HashingTeacher):
        n_parameters = 7

    assert teacher_size(row, HashingTeacher("hashing", 1)) == Size(200, None)
    assert teacher_size(row, Partly("hashing", 1)) == Size(200, 7)
