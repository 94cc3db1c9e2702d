from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from polydistill.config.overrides import changed, only_teachers
from polydistill.config.params import (
    RESOLVED_FILE,
    is_resolved,
    load_params,
    parse_params,
    read_tree,
    resolved_text,
    write_resolved,
)
from polydistill.errors import ParamsError, UnknownNameError
from tests.our_params import ROOT

LINES = 150
"""The maximum number of lines of the default project's `params.yaml`."""


@pytest.fixture
def tree() -> dict[str, Any]:
    return read_tree(ROOT)


def test_the_default_project_fits_in_a_few_lines() -> None:
    assert len((ROOT / "params.yaml").read_text("utf-8").splitlines()) <= LINES


def test_the_default_params_enable_four_teachers_of_text() -> None:
    params = load_params(ROOT)

    assert list(params.enabled_teachers("text")) == [
        "minilm-l6",
        "use-m3",
        "paraphrase-l3",
        "glove-50d",
    ]
    assert params.embed_keys("text")[0] == "text-minilm-l6"


def test_an_unknown_key_gets_a_suggestion_and_its_path(tree: dict[str, Any]) -> None:
    tree["text"]["training"] = {"learnig_rate": 0.1}

    with pytest.raises(
        ParamsError, match=r"text\.training\.learnig_rate.*Did you mean 'learning_rate'"
    ):
        parse_params(tree)


def test_an_out_of_bounds_value_is_reported_with_its_key(tree: dict[str, Any]) -> None:
    tree["text"]["corpus"]["held_out"] = 1.5

    with pytest.raises(ParamsError, match=r"text\.corpus\.held_out: .*1\.5"):
        parse_params(tree)


def test_at_least_one_teacher_must_be_enabled(tree: dict[str, Any]) -> None:
    tree["text"]["teachers"] = {"minilm-l6": {"enabled": False}}

    with pytest.raises(ParamsError, match="at least one that is enabled"):
        parse_params(tree)


def test_an_unknown_modality_is_named(tree: dict[str, Any]) -> None:
    with pytest.raises(
        UnknownNameError, match=r"Unknown modality 'audio'\. Known: molecules, text"
    ):
        parse_params(tree).modality("audio")


def test_a_folder_without_params_yaml_is_an_error_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="run polydistill in a project folder"):
        load_params(tmp_path)


def test_invalid_yaml_is_a_params_error(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: [", encoding="utf-8")

    with pytest.raises(ParamsError, match="is not YAML"):
        load_params(tmp_path)


def test_the_tree_is_frozen(tree: dict[str, Any]) -> None:
    params = parse_params(tree)

    with pytest.raises(ValueError, match="frozen"):
        params.seed = 1


def test_a_complete_tree_is_unchanged_by_composition(tree: dict[str, Any]) -> None:
    params = parse_params(tree)

    assert parse_params(params.model_dump(mode="json")) == params


def test_a_misspelt_top_level_key_gets_a_suggestion(tree: dict[str, Any]) -> None:
    tree["sead"] = 1

    with pytest.raises(ParamsError, match=r"key in params\.yaml: sead.*Did you mean 'seed'"):
        parse_params(tree)


def test_a_block_without_a_modality_gets_a_suggestion(tree: dict[str, Any]) -> None:
    tree["txt"] = tree["text"]

    with pytest.raises(ParamsError, match="Did you mean 'text'"):
        parse_params(tree)


def test_a_listed_modality_without_a_block_is_named(tree: dict[str, Any]) -> None:
    del tree["text"]

    with pytest.raises(ParamsError, match="must have a block 'text', got none"):
        parse_params(tree)


def test_a_listed_modality_without_a_plug_in_is_named(tree: dict[str, Any]) -> None:
    tree["modalities"] = ["text", "smell"]

    with pytest.raises(ParamsError, match=r"modality in `modalities`: 'smell'\. Known: .*text"):
        parse_params(tree)


def test_without_a_list_every_block_is_enabled(tree: dict[str, Any]) -> None:
    del tree["modalities"]

    assert set(parse_params(tree).modalities) == {"text", "vision", "molecules"}


def test_the_committed_file_of_effective_settings_is_up_to_date() -> None:
    assert is_resolved(ROOT, load_params(ROOT))


def test_a_new_teacher_of_one_modality_does_not_change_the_inputs_of_others() -> None:
    before = load_params(ROOT)
    after = changed(before, only_teachers(before, "text", ["minilm-l6", "e5-small"]))

    old, new = (yaml.safe_load(resolved_text(params)) for params in (before, after))

    assert new["enabled"]["teachers"]["text"] == ["minilm-l6", "e5-small"]
    assert new["enabled"]["embed"]["text-e5-small"]["module"] == "nano_e5"
    del old["enabled"]["teachers"]["text"], new["enabled"]["teachers"]["text"]
    assert new["enabled"]["teachers"] == old["enabled"]["teachers"]
    del old["enabled"], new["enabled"]
    assert new == old


def test_writing_effective_settings_returns_the_new_embed_stages(tmp_path: Path) -> None:
    params = load_params(ROOT)
    small = changed(params, only_teachers(params, "text", ["minilm-l6"]))
    write_resolved(tmp_path, small)

    assert write_resolved(tmp_path, small) == []
    assert write_resolved(tmp_path, params) == [
        "text-use-m3",
        "text-paraphrase-l3",
        "text-glove-50d",
    ]
    assert is_resolved(tmp_path, params)


def test_a_damaged_file_of_effective_settings_is_replaced(tmp_path: Path) -> None:
    (tmp_path / RESOLVED_FILE).write_text("<<<<<<< ours\n", encoding="utf-8")

    write_resolved(tmp_path, load_params(ROOT))

    assert is_resolved(tmp_path, load_params(ROOT))


def test_keys_that_yaml_1_1_reads_as_booleans_stay_strings(tmp_path: Path) -> None:
    text = "notify:\n  - {on: [refused], url_env: CHAT_URL}\nseed: 0\nadd: yes\nenabled: false\n"
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")

    tree = read_tree(tmp_path)

    assert tree["notify"] == [{"on": ["refused"], "url_env": "CHAT_URL"}]
    assert (tree["add"], tree["enabled"]) == ("yes", False)
