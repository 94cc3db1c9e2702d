from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from polydistill.data.modalities import MODALITIES
from polydistill.registry.smoke_test import (
    N_EXAMPLES,
    TOLERANCE,
    Canary,
    make_canary,
    read_canary,
    same_answers,
    write_canary,
)
from polydistill.students.bag_of_bytes import BagOfBytesStudent


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    generator = torch.Generator().manual_seed(0)
    BagOfBytesStudent.build([], generator, 1, dim=4).save(tmp_path)
    return make_canary(tmp_path, MODALITIES.get("text")())


def test_what_is_written_reads_back_to_the_last_bit(canary: Canary, tmp_path: Path) -> None:
    write_canary(tmp_path / "canary.json", canary)

    assert read_canary(tmp_path / "canary.json") == canary
    assert len(canary.examples) == len(canary.embeddings) == N_EXAMPLES


def test_the_same_answers_hold_and_rounding_does_not_matter(canary: Canary) -> None:
    rows = np.array(canary.embeddings, dtype=np.float32)

    assert same_answers(canary, rows).holds
    assert same_answers(canary, rows + np.float32(0.3 * TOLERANCE * np.abs(rows).max())).holds


def test_other_answers_of_any_kind_do_not_hold(canary: Canary) -> None:
    rows = np.array(canary.embeddings, dtype=np.float32)
    infinite = rows.copy()
    infinite[2, 1] = np.inf

    found = [same_answers(canary, wrong) for wrong in (rows[:, :3], infinite, rows * 1.01)]

    assert not any(one.holds for one in found)
    assert [one.because.split(" ", 4)[-1][:12] for one in found] == [
        "with shape (",
        "with NaN or ",
        "8 examples i",
    ]


def test_a_canary_keeps_bytes_as_they_are(tmp_path: Path) -> None:
    asked = Canary((b"\x89PNG", "text"), ((0.5, 1.0), (0.25, 2.0)))

    write_canary(tmp_path / "canary.json", asked)

    assert read_canary(tmp_path / "canary.json") == asked
