from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from polydistill.errors import DataError
from polydistill.teachers.static_table import StaticTableTeacher

TABLE = np.array([[9, 9], [1, 0], [0, 1], [3, 3]], dtype=np.float16)


def make(folder: Path, **tensors: np.ndarray) -> StaticTableTeacher:
    words = {"<s>": 0, "cat": 1, "sat": 2, "<unk>": 3}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.enable_truncation(2)
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(tensors or {"embedding.weight": TABLE}, folder / "table.safetensors")
    return StaticTableTeacher(
        "table",
        1,
        weights=str(folder / "table.safetensors"),
        tokenizer=str(folder / "tokenizer.json"),
        dim=2,
    )


def test_an_embedding_is_the_mean_of_all_tokens_without_special_ones(tmp_path: Path) -> None:
    values = make(tmp_path).embed(["cat", "cat sat", "cat cat cat sat"]).values

    assert values.tolist() == [[1, 0], [0.5, 0.5], [0.75, 0.25]]


def test_a_text_without_tokens_has_no_embedding(tmp_path: Path) -> None:
    result = make(tmp_path).embed(["cat", "  "])

    assert result.present.tolist() == [True, False]


@pytest.mark.parametrize(
    ("tensors", "got"),
    [
        ({"one": TABLE[:3]}, r"\(4, 2\).*got \(3, 2\)"),
        ({"one": TABLE[:, :1]}, r"got \(4, 1\)"),
        ({"one": TABLE, "two": TABLE}, r"one tensor.*got \(4, 2\), \(4, 2\)"),
    ],
    ids=["too few rows", "another width", "two tensors"],
)
def test_a_table_of_another_shape_is_refused(
    tmp_path: Path, tensors: dict[str, np.ndarray], got: str
) -> None:
    with pytest.raises(DataError, match=got):
        make(tmp_path, **tensors).embed(["cat"])


def test_a_tokenizer_whose_ids_go_beyond_the_table_is_refused(tmp_path: Path) -> None:
    teacher = make(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(file.read_text().replace('"cat":1', '"cat":9').replace('"cat": 1', '"cat": 9'))

    with pytest.raises(DataError, match=r"shape \(10, 2\).*largest id is 9, got \(4, 2\)"):
        teacher.embed(["cat"])


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    teacher = make(tmp_path)
    save_file({}, tmp_path / "table.safetensors")

    with pytest.raises(DataError, match="got none"):
        teacher.embed(["cat"])


def test_the_identity_changes_with_the_tokenizer(tmp_path: Path) -> None:
    teacher = make(tmp_path)
    before = dict(teacher.identity)
    file = tmp_path / "tokenizer.json"
    file.write_text(file.read_text().replace("cat", "dog"))

    assert {key for key, value in teacher.identity.items() if value != before[key]} == {"tokenizer"}
