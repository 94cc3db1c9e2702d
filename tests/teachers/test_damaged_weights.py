"""Weights with NaN or infinity are refused and named, whichever rows they affect; an unreadable example is only missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from polydistill.data.ids import pack_ids
from polydistill.embeddings.extraction import write_embeddings
from polydistill.embeddings.store import open_embeddings
from polydistill.errors import StoreError
from polydistill.teachers._readers import ReadsExamples
from polydistill.teachers.sentence_transformers import SentenceTransformersTeacher
from polydistill.teachers.transformers import TransformersTeacher
from tests.tiny_bert import WORDS, save_tiny_bert

N_ROWS = 5000


@dataclass(eq=False, kw_only=True)
class Numbers(ReadsExamples):
    """A teacher of numbers in text; it returns a damaged embedding for some of them."""

    family = "numbers"
    batch_rows = 64
    dim: int = 2
    damaged: frozenset[int] = frozenset()
    value: float = np.nan

    def _read(self, example: Any) -> int | None:
        return int(example) if example.isdigit() else None

    def _run(self, batch: list[int]) -> Any:
        rows = [[self.value if one in self.damaged else one, 1.0] for one in batch]
        return np.array(rows, dtype=np.float32)


def write(folder: Path, teacher: Any, examples: list[str]) -> Path:
    ids = pack_ids([f"{number:032x}" for number in range(len(examples))])
    write_embeddings(folder / "made", folder / "work", ids, examples, teacher, dtype="float32")
    return folder / "made"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("damaged", [range(N_ROWS), [0], [N_ROWS - 1], [4095, 4096], [17, 4500]])
def test_a_damaged_embedding_is_refused_wherever_it_is(
    tmp_path: Path, value: float, damaged: list[int]
) -> None:
    teacher = Numbers("numbers", 1, damaged=frozenset(damaged), value=value)

    with pytest.raises(
        StoreError, match=r"'numbers' returned NaN or infinity for \d+ rows \(0{20}"
    ):
        write(tmp_path, teacher, [str(number) for number in range(N_ROWS)])
    assert not (tmp_path / "made").exists()


def test_an_example_that_cannot_be_read_is_missing(tmp_path: Path) -> None:
    stored = open_embeddings(write(tmp_path, Numbers("numbers", 1), ["1", "no number", "3"]))

    assert stored.present.tolist() == [True, False, True]


@pytest.mark.parametrize("family", [TransformersTeacher, SentenceTransformersTeacher])
@pytest.mark.parametrize("words", [["dog"], WORDS])
def test_damaged_weights_of_a_transformer_are_refused(
    tmp_path: Path, family: Any, words: list[str]
) -> None:
    folder = save_tiny_bert(tmp_path / "bert")
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][[WORDS.index(word) for word in words]] = np.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(StoreError, match="'tiny' returned NaN or infinity"):
        write(tmp_path, family("tiny", 1, model=str(folder)), ["the cat", "a dog", "the"])
