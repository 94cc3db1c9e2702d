from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polydistill.config.params import parse_params
from polydistill.data.files import LFS_POINTER
from polydistill.errors import DataError, ParamsError, UnknownNameError
from polydistill.stages.resolve import check_files, resolve
from tests.our_params import text_params

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree() -> dict[str, Any]:
    loaded: dict[str, Any] = text_params()
    return loaded


def test_the_default_params_resolve(tree: dict[str, Any]) -> None:
    resolve(parse_params(tree), "text")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("loss", "name"), "gausian-nll", "Did you mean 'gaussian-nll'"),
        (("heads", "hiden"), 3, "Did you mean 'hidden'"),
        (("student", "dims"), 3, "Did you mean 'dim'"),
        (("geometry", "name"), "consensus", "Unknown relational term 'consensus'"),
        (("teachers", "minilm-l6", "poolin"), "cls", "Did you mean 'pooling'"),
        (("teachers", "minilm-l6", "family"), "onyx", "Unknown teacher family 'onyx'"),
    ],
)
def test_a_wrong_name_or_option_is_refused_with_a_suggestion(
    tree: dict[str, Any], path: tuple[str, ...], value: object, expected: str
) -> None:
    node = tree["text"]
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value

    with pytest.raises(UnknownNameError, match=expected):
        resolve(parse_params(tree), "text")


def test_a_missing_option_is_named(tree: dict[str, Any]) -> None:
    del tree["text"]["student"]["tokenizer"]

    with pytest.raises(ParamsError, match="needs the option 'tokenizer'"):
        resolve(parse_params(tree), "text")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"family": "precomputed", "folder": "TMP/none", "dim": 2}, "No file or folder"),
        ({"family": "precomputed", "folder": "TMP/empty", "dim": 2}, "must hold Parquet files"),
        ({"family": "precomputed", "folder": "TMP/cut", "dim": 2}, r"part\.parquet cannot be read"),
        ({"family": "sentence-transformers", "model": "TMP/lfs"}, "is a Git LFS pointer"),
        ({"family": "onnx", "model": "TMP/none.onnx"}, "No file or folder"),
        ({"family": "onnx", "model": "TMP/none.onnx", "tokenizer": "TMP/a"}, "No file or folder"),
        (
            {"family": "static-vectors", "vocabulary": "TMP/v", "vectors": "TMP/w", "dim": 2},
            "TMP/w",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("enabled", [True, False])
def test_files_of_enabled_teachers_are_checked_before_the_first_stage(
    tree: dict[str, Any],
    tmp_path: Path,
    row: dict[str, Any],
    expected: str,
    enabled: bool,  # noqa: FBT001
) -> None:
    for file, content in (("cut/part.parquet", b"PAR1"), ("lfs/model.safetensors", LFS_POINTER)):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_bytes(content)
    (tmp_path / "empty").mkdir()
    there = {
        key: value.replace("TMP", str(tmp_path)) if isinstance(value, str) else value
        for key, value in row.items()
    }
    tree["text"]["teachers"] = {
        "hash": {"family": "hashing"},
        "mine": {**there, "enabled": enabled},
    }
    params = parse_params(tree)

    if not enabled:
        check_files(params, "text")
        return
    with pytest.raises(DataError, match=expected.replace("TMP", str(tmp_path))):
        check_files(params, "text")
