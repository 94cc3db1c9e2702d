from __future__ import annotations

from typing import Any

import pytest

from polydistill.config.params import known_teachers, modality_defaults, parse_params
from polydistill.errors import UnknownNameError

CORPUS = {"path": "corpus.csv", "rows": 10}


def parsed(**block: Any) -> Any:
    tree = {"text": {"corpus": CORPUS, "teachers": {"minilm-l6": None}} | block}
    return parse_params(tree).modality("text")


def test_a_corpus_and_a_teacher_suffice() -> None:
    block = parsed()

    assert block.student.name == "static"
    assert block.training.epochs == 4
    assert block.gate.max_size_mb == 64
    assert block.teachers["minilm-l6"].options["dim"] == 384


def test_a_value_replaces_its_default_and_keeps_other_defaults() -> None:
    training = parsed(training={"epochs": 9, "guard": {"spike": 5.0}}).training

    assert (training.epochs, training.guard.spike) == (9, 5.0)
    assert (training.batch_size, training.guard.max_restarts) == (256, 3)


def test_options_without_a_name_change_the_default_plug_in() -> None:
    assert parsed(student={"dim": 64}).student.options["tokenizer"]
    assert parsed(heads={"hidden": 32}).heads.model_dump() == {
        **modality_defaults("text")["heads"],
        "hidden": 32,
    }


def test_a_plug_in_with_a_name_does_not_inherit_default_options() -> None:
    assert parsed(heads={"name": "low-rank", "hidden": 32}).heads.options == {"hidden": 32}
    assert parsed(geometry=None).geometry is None


def test_a_row_overrides_the_options_of_a_known_teacher() -> None:
    teacher = parsed(teachers={"minilm-l6": {"max_tokens": 64}}).teachers["minilm-l6"]

    assert (teacher.family, teacher.options["max_tokens"]) == ("sentence-transformers", 64)
    assert teacher.options["model"] == known_teachers("text")["minilm-l6"]["model"]


def test_a_row_with_a_family_inherits_nothing_from_a_known_teacher() -> None:
    teacher = parsed(teachers={"minilm-l6": {"family": "hashing", "dim": 8}}).teachers["minilm-l6"]

    assert (teacher.options, teacher.licence) == ({"dim": 8}, None)


def test_an_unknown_teacher_without_a_family_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match=r"text\.teachers .*Did you mean 'minilm-l6'"):
        parsed(teachers={"minilm": {}})


def test_the_former_name_of_the_smoke_test_is_accepted() -> None:
    assert parsed(gate={"canary": False}).gate.smoke_test is False


@pytest.mark.parametrize("modality", ["text", "vision", "molecules"])
def test_every_known_teacher_has_a_licence(modality: str) -> None:
    assert all(row["licence"] for row in known_teachers(modality).values())
