from __future__ import annotations

import sys

import pytest

from polydistill.errors import ParamsError, UnknownNameError
from polydistill.heads import HEADS
from polydistill.losses import LOSSES
from polydistill.teachers import TEACHERS


def test_plug_in_names_are_file_names_and_need_no_import() -> None:
    names = TEACHERS.names()

    assert {"sentence-transformers", "onnx", "hashing", "precomputed"} <= set(names)
    assert not any(name.startswith("-") for name in names)


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(
        UnknownNameError, match=r"Unknown loss 'gausian-nll'\. Did you mean 'gaussian-nll'"
    ):
        LOSSES.get("gausian-nll")


def test_an_unknown_option_gets_a_suggestion() -> None:
    options = {"model": "m", "tokenizer": "t", "output": "o", "dim": 3, "max_token": 3}

    with pytest.raises(UnknownNameError, match="Did you mean 'max_tokens'"):
        TEACHERS.check("onnx", options)


def test_a_missing_option_is_named() -> None:
    with pytest.raises(ParamsError, match="needs the option 'model'"):
        TEACHERS.check("onnx", {"tokenizer": "t", "output": "o", "dim": 3})


@pytest.mark.parametrize("wrong", ["64", 2.5, True, [64]])
def test_an_option_of_another_type_is_reported_with_its_value(wrong: object) -> None:
    expected = "option 'hidden' of head 'low-rank' in params.yaml: Input should be a valid integer"

    with pytest.raises(ParamsError) as got:
        HEADS.check("low-rank", {"hidden": wrong})

    assert str(got.value) == f"{expected} (got {wrong!r})."


@pytest.mark.parametrize(("option", "value"), [("scale_rank", None), ("min_log_scale", -6)])
def test_an_option_accepts_every_annotated_type(option: str, value: object) -> None:
    HEADS.check("low-rank", {option: value})


def test_a_teacher_file_does_not_import_its_runtime() -> None:
    TEACHERS.get("onnx")

    assert "polydistill.teachers.onnx" in sys.modules
