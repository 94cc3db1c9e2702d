from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from polydistill.config import device
from polydistill.config.device import device_for
from polydistill.data.ids import pack_ids
from polydistill.embeddings.extraction import write_embeddings
from polydistill.embeddings.store import open_embeddings
from polydistill.errors import DataError, ParamsError
from polydistill.teachers import TEACHERS, build_teacher
from polydistill.teachers._onnx import providers
from polydistill.teachers._readers import ReadsTexts
from polydistill.teachers.hashing import HashingTeacher
from polydistill.teachers.transformers import TransformersTeacher
from tests.teachers.test_architectures import ARCHITECTURES, TEXTS, save

REDUCED = ("transformers", "sentence-transformers")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("bert"), "bert")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    device.devices.cache_clear()
    yield
    device.devices.cache_clear()


def test_without_an_accelerator_models_run_on_the_cpu() -> None:
    assert device_for("auto") == device_for("cpu") == "cpu"
    for missing in ("cuda", "cuda:3", "mps"):
        with pytest.raises(ParamsError, match=f"`device` is {missing}, but PyTorch finds only cpu"):
            device_for(missing)


@pytest.mark.usefixtures("gpus")
def test_an_accelerator_comes_first() -> None:
    assert [device_for(one) for one in ("auto", "cuda", "cuda:1", "cpu")] == [
        "cuda:0", "cuda:0", "cuda:1", "cpu",
    ]  # fmt: skip
    with pytest.raises(ParamsError, match="finds only cuda:0, cuda:1, cpu"):
        device_for("cuda:2")


@pytest.mark.usefixtures("gpus")
def test_onnx_runtime_without_a_gpu_names_the_package_unless_the_device_is_auto(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert providers("auto", "Teacher 'a'") == ["CPUExecutionProvider"]
    with pytest.raises(ParamsError, match="Teacher 'a': .*pip install onnxruntime-gpu"):
        providers("cuda:1", "Teacher 'a'")

    known = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: known)
    first, second = providers("cuda:1", "Teacher 'a'")
    assert (first, second) == (("CUDAExecutionProvider", {"device_id": 1}), "CPUExecutionProvider")


@pytest.mark.parametrize("family", TEACHERS.names())
def test_the_common_device_reaches_each_family_that_runs_on_one(family: str) -> None:
    if not TEACHERS.takes(family, "device"):
        return
    with pytest.raises(ParamsError, match="must match|should match|pattern"):
        TEACHERS.check(family, {**needed(family), "device": "gpu"})
    TEACHERS.check(family, {**needed(family), "device": "cuda:1"})


def needed(family: str) -> dict[str, Any]:
    """Return values of the options that a family needs."""
    options: dict[str, dict[str, Any]] = {
        "dmpnn": {"checkpoints": ["a"], "dim": 2},
        "efficientnet-lite": {"weights": "a", "sha256": "0"},
        "minimol": {"model": "a"},
        "onnx": {"model": "a"},
        "onnx-image": {"model": "a", "output": "b", "dim": 2, "size": 8},
        "sentence-transformers": {"model": "a"},
        "transformers": {"model": "a"},
        "transformers-image": {"model": "a", "dim": 2},
    }
    return options[family]


def test_a_teachers_own_device_comes_before_the_common_one(bert: Path) -> None:
    options = {"model": str(bert)}

    common = build_teacher("a", "transformers", options, 1, "cuda:1")
    own = build_teacher("a", "transformers", {**options, "device": "cpu"}, 1, "cuda:1")

    assert (vars(common)["device"], vars(own)["device"]) == ("cuda:1", "cpu")
    assert isinstance(build_teacher("a", "hashing", {}, 1, "cuda:1"), HashingTeacher)
    assert common.identity == own.identity


def test_precision_and_attention_are_in_the_identity_and_device_is_not(bert: Path) -> None:
    plain, *others = (
        dict(TransformersTeacher("a", 1, model=str(bert), **options).identity)
        for options in ({}, {"precision": "bfloat16"}, {"attention": "eager"}, {"batch_tokens": 9})
    )

    assert "attention" not in plain
    assert [one == plain for one in others] == [False, False, True]


@pytest.mark.parametrize("family", REDUCED)
@pytest.mark.parametrize("precision", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_half_precision_gives_nearly_the_same_embeddings(
    tmp_path: Path, name: str, family: str, precision: str
) -> None:
    options = {
        "model": str(save(tmp_path / "model", name)),
        "precision": precision,
        "pooling": "mean",
    }
    teacher = build_teacher("half", family, options, 1)
    ids = pack_ids([f"{row:032x}" for row in range(len(TEXTS))])

    write_embeddings(tmp_path / "out", tmp_path / "work", ids, TEXTS, teacher)

    stored = open_embeddings(tmp_path / "out")
    assert stored.identity["precision"] == precision
    whole = build_teacher("whole", family, {**options, "precision": "float32"}, 1).embed(TEXTS)
    assert (stored.values.astype(np.float32) * whole.values).sum(axis=1).min() > 0.999


def test_a_precision_that_changes_embeddings_is_refused_before_anything_is_written(
    bert: Path, tmp_path: Path
) -> None:
    options = {"model": str(bert), "precision": "bfloat16", "fidelity": 1.0}
    teacher = build_teacher("half", "transformers", options, 1)
    ids = pack_ids([f"{row:032x}" for row in range(len(TEXTS))])

    with pytest.raises(
        DataError, match="'half' with precision bfloat16 gives other embeddings.*worst 0.99"
    ):
        write_embeddings(tmp_path / "out", tmp_path / "work", ids, TEXTS, teacher)

    assert not (tmp_path / "out").exists()


def test_equal_examples_are_embedded_once(tmp_path: Path) -> None:
    class Counting(HashingTeacher):
        rows = 0

        def embed(self, examples: Any) -> Any:
            self.rows += len(examples)
            return super().embed(examples)

    teacher = Counting("hashing", 1, dim=8)
    ids = pack_ids([f"{row:032x}" for row in range(len(TEXTS))])

    report = write_embeddings(
        tmp_path / "out", tmp_path / "work", ids, TEXTS, teacher, shard_rows=10
    )

    assert teacher.rows == 2 * 5 + 5  # both shards, and the check of the order
    assert report.rows_computed == len(TEXTS)
    found = open_embeddings(tmp_path / "out").values
    np.testing.assert_array_equal(found, teacher.embed(TEXTS).values.astype(np.float16))


class Small(ReadsTexts):
    """Embeds the lengths of texts, at most eight at once."""

    family, dim = "small", 1

    def __init__(self) -> None:
        super().__init__("small", 1)
        self.sizes = list[int]()

    def _run(self, batch: list[str]) -> Any:
        self.sizes.append(len(batch))
        if len(batch) > 8:
            raise MemoryError
        return np.array([[len(text)] for text in batch], dtype=np.float32)


def test_after_memory_was_lacking_batches_stay_small() -> None:
    texts, teacher = ["x" * length for length in range(1, 200)], Small()

    found = teacher.embed(texts)

    assert found.values[:, 0].tolist() == list(range(1, 200))
    assert [size for size in teacher.sizes if size > 8] == [32, 16, 16]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("family", REDUCED)
def test_a_gpu_gives_the_embeddings_of_the_cpu(bert: Path, family: str) -> None:
    here, there = (
        build_teacher("a", family, {"model": str(bert), "pooling": "mean"}, 1, where)
        .embed(TEXTS)
        .values
        for where in ("cpu", "cuda")
    )

    np.testing.assert_allclose(here, there, atol=1e-4)
