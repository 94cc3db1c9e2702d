from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from polydistill.data.modalities import MODALITIES
from polydistill.registry.smoke_test import (
    N_EXAMPLES,
    TOLERANCE,
    SmokeTest,
    make_smoke_test,
    read_smoke_test,
    same_answers,
    write_smoke_test,
)
from polydistill.students.bag_of_bytes import BagOfBytesStudent


@pytest.fixture
def smoke_test(tmp_path: Path) -> SmokeTest:
    generator = torch.Generator().manual_seed(0)
    BagOfBytesStudent.build([], generator, 1, dim=4).save(tmp_path)
    return make_smoke_test(tmp_path, MODALITIES.get("text")())


def test_what_is_written_reads_back_to_the_last_bit(smoke_test: SmokeTest, tmp_path: Path) -> None:
    write_smoke_test(tmp_path / "smoke_test.json", smoke_test)

    assert read_smoke_test(tmp_path / "smoke_test.json") == smoke_test
    assert len(smoke_test.examples) == len(smoke_test.embeddings) == N_EXAMPLES


def test_the_same_answers_hold_and_rounding_does_not_matter(smoke_test: SmokeTest) -> None:
    rows = np.array(smoke_test.embeddings, dtype=np.float32)

    assert same_answers(smoke_test, rows).holds
    assert same_answers(smoke_test, rows + np.float32(0.3 * TOLERANCE * np.abs(rows).max())).holds


def test_other_answers_of_any_kind_do_not_hold(smoke_test: SmokeTest) -> None:
    rows = np.array(smoke_test.embeddings, dtype=np.float32)
    infinite = rows.copy()
    infinite[2, 1] = np.inf

    found = [same_answers(smoke_test, wrong) for wrong in (rows[:, :3], infinite, rows * 1.01)]

    assert not any(one.holds for one in found)
    assert [one.because.split(" ", 4)[-1][:12] for one in found] == [
        "with shape (",
        "with NaN or ",
        "8 examples i",
    ]


def test_a_smoke_test_keeps_bytes_as_they_are(tmp_path: Path) -> None:
    asked = SmokeTest((b"\x89PNG", "text"), ((0.5, 1.0), (0.25, 2.0)))

    write_smoke_test(tmp_path / "smoke_test.json", asked)

    assert read_smoke_test(tmp_path / "smoke_test.json") == asked
