"""No tensor of a training step stays on the CPU when the model is elsewhere: the device `meta` computes only shapes."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from polydistill.heads import HEADS
from polydistill.losses import LOSSES
from polydistill.losses.relational import GEOMETRY, build_geometry
from polydistill.students.bag_of_bytes import BagOfBytesStudent
from polydistill.students.image_encoder import Augmentation
from polydistill.training.model import DistillationModel
from polydistill.training.weighting import WEIGHTINGS
from tests.training.tiny_run import DIMS, make_model, run

META = torch.device("meta")
DEFAULT = {
    "heads": "low-rank",
    "loss": "beta-nll",
    "geometry": "consensus-similarity",
    "weighting": "per-dimension",
}
KINDS = {"heads": HEADS, "loss": LOSSES, "geometry": GEOMETRY, "weighting": WEIGHTINGS}

BY_MASK = ("batch-norm-mlp", "running")
"""These choose rows by a mask, and `meta` does not know how many."""


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices; PyTorch itself lets some pass if one device is `meta`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given, _ = tree_flatten((args, kwargs or {}))
        devices = {one.device for one in given if isinstance(one, Tensor) and one.dim()}
        if len(devices) > 1:
            raise RuntimeError(f"{func} got tensors on {devices}")
        return func(*args, **(kwargs or {}))


def one_device() -> TorchDispatchMode:
    return OneDevice()  # type: ignore[no-untyped-call]


def moved(batch: Any) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(META)
    return {name: moved(one) for name, one in batch.items()}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind, known in KINDS.items()
        for name in known.names()
        if name not in BY_MASK
    ],
)
def test_a_training_step_leaves_no_tensor_on_the_cpu(
    kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # refuses `meta`
    chosen = {**DEFAULT, kind: name}
    _, student, batches = make_model()
    dims = {"one": 5, "two": 5} if name == "phi-s" else DIMS
    generator = torch.Generator().manual_seed(0)
    student = BagOfBytesStudent.build([], generator, dim=8)
    model = DistillationModel(
        student,
        HEADS.get(chosen["heads"])(student.dim, dims, generator),
        partial(LOSSES.get(chosen["loss"])),
        build_geometry(chosen["geometry"], {}, student.dim, list(dims.values())),
        0.5,
        WEIGHTINGS.get(chosen["weighting"])(len(dims)),
    ).to(META)
    rows = list(range(32))
    batch = moved({"features": student.collate(["a text"] * 32), **batches.targets_of(rows)})
    batch["targets"] = {name: torch.zeros(32, dim, device=META) for name, dim in dims.items()}
    optimizer = torch.optim.AdamW(model.parameters())

    with one_device():
        for _ in range(2):
            outputs = model(**batch)
            outputs["loss"].backward()
            optimizer.step()

    assert {one.device for one in outputs.values()} == {META}
    assert {one.device for one in (*model.parameters(), *model.buffers())} == {META}


def test_the_check_finds_a_tensor_of_the_cpu() -> None:
    there = torch.zeros(2, 3, device=META)
    with one_device():
        with pytest.raises(RuntimeError, match="meta"):
            there * torch.zeros(3)
        with pytest.raises(RuntimeError, match="meta"):
            there @ torch.zeros(3, 3)


def test_augmentations_are_the_same_on_every_device_and_leave_no_tensor_on_the_cpu() -> None:
    augment = Augmentation(zoom=0.1, shift=0.1, flip=0.5, colour=0.2).train()

    torch.manual_seed(0)
    augment(torch.rand(4, 3, 8, 8))
    after = torch.get_rng_state()
    torch.manual_seed(0)
    torch.rand(4, 3, 8, 8)
    with one_device():
        found = augment(torch.rand(4, 3, 8, 8, device=META))

    assert found.device == META
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_training_on_a_gpu_ends_near_the_loss_of_the_cpu(tmp_path: Path, precision: str) -> None:
    found, model = run(tmp_path / "gpu", precision=precision, device="cuda:0")
    expected, _ = run(tmp_path / "cpu")

    assert {one.device.type for one in model.parameters()} == {"cuda"}
    last = [[one["nats"] for one in result.history][-2:] for result in (found, expected)]
    assert last[0] == pytest.approx(last[1], abs=0.02)
