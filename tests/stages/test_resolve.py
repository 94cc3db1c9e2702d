from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polydistill.config.params import parse_params
from polydistill.errors import ParamsError, UnknownNameError
from polydistill.stages.resolve import resolve
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
