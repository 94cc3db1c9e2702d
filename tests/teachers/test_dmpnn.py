from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from polydistill.errors import DataError
from polydistill.teachers.dmpnn import DmpnnTeacher

SMILES = ["CCO", "[Na+].CC(=O)[O-]", "F/C=C/F", "C", "Oc1ccccc1"]
CHEMPROP = [  # chemprop 2.3.1, BondMessagePassing(d_h=3) with weights sin(0), sin(1), …, NormAggregation
    [0.0, 0.0, 0.010571],
    [0.012144, 0.019462, 0.037129],
    [0.0, 0.0, 0.0],
    [0.0, 0.0, 0.000075],
    [0.142169, 0.243788, 0.262318],
]


class Activation:
    """Represents a class of a missing library in a checkpoint; it must never be instantiated."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Activation, ())


def checkpoint(path: Path, **changes: object) -> str:
    shapes = {"W_i.weight": (3, 86), "W_h.weight": (3, 3), "W_o.weight": (3, 75), "W_o.bias": (3,)}
    state = {
        f"message_passing.{name}": torch.sin(torch.arange(math.prod(shape)).float()).reshape(shape)
        for name, shape in shapes.items()
    }
    passing = {"depth": 3, "bias": False, "undirected": False, "d_vd": 0, "V_d_transform": None}
    settings = {
        "message_passing": passing | {"activation": Activation()},
        "agg": {"norm": 100.0},
        "batch_norm": False,
    }
    torch.save({"state_dict": state, "hyper_parameters": settings | changes}, path)
    return str(path)


def test_gives_what_chemprop_gives(tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "model.pt")

    found = DmpnnTeacher("tiny", 1, checkpoints=[file, file], dim=6).embed(SMILES)

    np.testing.assert_allclose(found.values[:, :3], CHEMPROP, atol=1e-6)
    np.testing.assert_array_equal(found.values[:, :3], found.values[:, 3:])
    assert found.present.all()


def test_no_class_of_a_checkpoint_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = checkpoint(tmp_path / "model.pt")
    made: list[object] = []
    monkeypatch.setattr(Activation, "__init__", made.append)

    DmpnnTeacher("tiny", 1, checkpoints=[file], dim=3).embed(["C"])

    assert made == []


def test_a_network_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "model.pt", batch_norm=True)

    with pytest.raises(DataError, match="must be a chemprop network"):
        DmpnnTeacher("tiny", 1, checkpoints=[file], dim=3).embed(["C"])


def test_what_is_no_molecule_or_too_large_is_a_missing_row(tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "model.pt")

    found = DmpnnTeacher("tiny", 1, checkpoints=[file], dim=3).embed(
        ["C1CC", "Oc1ccccc1", "", "C" * 500]
    )

    assert found.present.tolist() == [False, True, False, False]
    assert not found.values[[0, 2, 3]].any()
    np.testing.assert_allclose(found.values[1], CHEMPROP[4], atol=1e-6)
