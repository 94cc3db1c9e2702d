from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
import torch

from polydistill.contracts import FloatArray
from polydistill.data.modalities import MODALITIES
from polydistill.registry import publication
from polydistill.registry.publication import (
    N_EXAMPLES,
    TOLERANCE,
    same_answers,
    sample,
    write_smoke_test,
)
from polydistill.students import encode, load_student
from polydistill.students.bag_of_bytes import BagOfBytesStudent


@pytest.fixture
def file(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    BagOfBytesStudent.build([], generator, dim=4).save(tmp_path)
    write_smoke_test(tmp_path / "smoke_test.json", tmp_path, MODALITIES.get("text")())
    return tmp_path / "smoke_test.json"


@pytest.fixture
def rows(file: Path) -> FloatArray:
    return encode(load_student(file.parent), sample(MODALITIES.get("text")())[:N_EXAMPLES])


def test_what_is_written_reads_back_to_the_last_bit(file: Path, rows: FloatArray) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))

    assert np.array_equal(np.array(content["embeddings"], dtype=np.float32), rows)
    assert content["examples"] == sample(MODALITIES.get("text")())[:N_EXAMPLES]


def test_the_same_answers_hold_and_rounding_does_not_matter(file: Path, rows: FloatArray) -> None:
    assert same_answers(file, rows).holds
    assert same_answers(file, rows + np.float32(0.3 * TOLERANCE * np.abs(rows).max())).holds


def test_other_answers_of_any_kind_do_not_hold(file: Path, rows: FloatArray) -> None:
    infinite = rows.copy()
    infinite[2, 1] = np.inf

    found = [same_answers(file, wrong) for wrong in (rows[:, :3], infinite, rows * 1.01)]

    assert not any(one.holds for one in found)
    reasons = ("with shape (", "NaN or infinity", "differ from those at its publication")
    assert all(reason in one.because for reason, one in zip(reasons, found, strict=True))


def test_a_smoke_test_keeps_bytes_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "sample", lambda _: [b"\x89PNG", "text"])
    generator = torch.Generator().manual_seed(0)
    BagOfBytesStudent.build([], generator, dim=4).save(tmp_path)

    write_smoke_test(tmp_path / "smoke_test.json", tmp_path, MODALITIES.get("text")())

    image, text = json.loads((tmp_path / "smoke_test.json").read_text())["examples"]
    assert (b64decode(image["base64"]), text) == (b"\x89PNG", "text")
