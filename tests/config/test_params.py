from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from polydistill.config.params import load_params, parse_params
from polydistill.errors import ParamsError, UnknownNameError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return copy.deepcopy(loaded)


def test_the_default_params_switch_on_four_teachers() -> None:
    params = load_params(ROOT)

    assert list(params.enabled_teachers("text")) == [
        "minilm-l6",
        "use-m3",
        "paraphrase-l3",
        "glove-50d",
    ]


def test_an_unknown_key_gets_a_suggestion(tree: dict[str, Any]) -> None:
    tree["text"]["training"]["learnig_rate"] = 0.1

    with pytest.raises(ParamsError, match="Did you mean 'learning_rate'"):
        parse_params(tree)


def test_a_value_out_of_bounds_is_named_with_what_was_got(tree: dict[str, Any]) -> None:
    tree["text"]["corpus"]["held_out"] = 1.5

    with pytest.raises(ParamsError, match=r"text\.corpus\.held_out: .*1\.5"):
        parse_params(tree)


def test_a_teacher_that_does_not_exist_gets_a_suggestion(tree: dict[str, Any]) -> None:
    tree["embed"] = {"text-minilm": {"modality": "text", "teacher": "minilm", "module": "x"}}

    with pytest.raises(ParamsError, match="Did you mean 'minilm-l6'"):
        parse_params(tree)


def test_a_switchboard_row_must_name_the_file_of_its_family(tree: dict[str, Any]) -> None:
    tree["embed"]["text-minilm-l6"]["module"] = "onnx"

    with pytest.raises(ParamsError, match="module must be 'sentence_transformers'"):
        parse_params(tree)


def test_at_least_one_teacher_must_be_switched_on(tree: dict[str, Any]) -> None:
    tree["embed"] = {}

    with pytest.raises(ParamsError, match="at least one teacher"):
        parse_params(tree)


def test_an_unknown_modality_is_named(tree: dict[str, Any]) -> None:
    with pytest.raises(
        UnknownNameError, match=r"Unknown modality 'audio'\. Known: molecules, text"
    ):
        parse_params(tree).modality("audio")


def test_a_folder_without_params_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="run polydistill in a project folder"):
        load_params(tmp_path)


def test_yaml_that_is_no_yaml_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: [", encoding="utf-8")

    with pytest.raises(ParamsError, match="is not YAML"):
        load_params(tmp_path)


def test_the_tree_is_frozen(tree: dict[str, Any]) -> None:
    params = parse_params(tree)

    with pytest.raises(ValueError, match="frozen"):
        params.seed = 1  # type: ignore[misc]


def test_a_modality_is_a_block_and_no_field(tree: dict[str, Any]) -> None:
    block = parse_params(tree).modality("text")

    assert block.training.epochs == tree["text"]["training"]["epochs"]


def test_the_tree_survives_a_round_trip_with_what_was_set(tree: dict[str, Any]) -> None:
    params = parse_params(tree)

    dumped = params.model_dump(mode="json", exclude_unset=True)

    assert dumped["text"]["loss"] == tree["text"]["loss"]
    assert "gate" not in dumped["text"]["gate"]
    assert parse_params(dumped) == params


def test_a_misspelt_key_of_the_first_level_gets_a_suggestion(tree: dict[str, Any]) -> None:
    tree["sead"] = 1

    with pytest.raises(ParamsError, match=r"key in params\.yaml: sead.*Did you mean 'seed'"):
        parse_params(tree)


def test_a_block_that_no_modality_answers_to_gets_a_suggestion(tree: dict[str, Any]) -> None:
    tree["txt"] = tree["text"]

    with pytest.raises(ParamsError, match="Did you mean 'text'"):
        parse_params(tree)


def test_a_listed_modality_without_a_block_is_named(tree: dict[str, Any]) -> None:
    del tree["text"]

    with pytest.raises(ParamsError, match="must have a block 'text', got none"):
        parse_params(tree)


def test_a_listed_modality_that_no_file_provides_is_named(tree: dict[str, Any]) -> None:
    tree["modalities"] = ["text", "smell"]

    with pytest.raises(ParamsError, match=r"Unknown modality 'smell'\. Known: .*text"):
        parse_params(tree)
