from __future__ import annotations

from typing import Any

import pytest
import yaml

from polydistill.config.params import load_params, parse_params, read_tree, resolved_text
from polydistill.errors import ParamsError, UnknownNameError
from polydistill.stages.resolve import resolve
from tests.our_params import ROOT


@pytest.fixture
def tree() -> dict[str, Any]:
    return read_tree(ROOT)


def test_our_text_has_a_known_rival_that_is_no_teacher() -> None:
    params = load_params(ROOT)

    assert list(params.modality("text").enabled_rivals) == ["wordllama"]
    assert params.modality("text").enabled_rivals["wordllama"].family == "static-table"
    assert "wordllama" not in params.enabled_teachers("text")
    assert params.embed_keys("text")[-1] == "text-wordllama"


def test_each_modality_has_computed_rivals_by_default() -> None:
    params = load_params(ROOT)

    found = {name: params.modality(name).evaluation.rivals for name in params.modalities}
    assert found["text"] == ("tfidf-svd", "bm25", "teachers-pca")
    assert found["vision"] == found["molecules"] == ("teachers-pca",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rivals": {"minilm-l6": None}}, "'minilm-l6', which is also a teacher"),
        ({"rivals": {"bm25": {"family": "hashing"}}}, "'bm25', which is also an entry of `rivals`"),
    ],
)
def test_a_rival_with_the_name_of_another_model_is_refused(
    tree: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    tree["text"] |= changes

    with pytest.raises(ParamsError, match=said):
        parse_params(tree)


def test_a_disabled_teacher_may_be_a_rival(tree: dict[str, Any]) -> None:
    tree["text"]["rivals"] = {"e5-small": None}

    assert list(parse_params(tree).modality("text").enabled_rivals) == ["e5-small"]


def test_an_unknown_rival_without_a_family_gets_a_suggestion(tree: dict[str, Any]) -> None:
    tree["text"]["rivals"] = {"wordlama": None}

    with pytest.raises(UnknownNameError, match=r"text\.rivals.*'wordlama'. Did you mean 'wordllam"):
        parse_params(tree)


def test_an_unknown_computed_rival_gets_a_suggestion(tree: dict[str, Any]) -> None:
    tree["text"]["evaluation"] = {"rivals": ["bm52"]}

    with pytest.raises(UnknownNameError, match="'bm52'. Did you mean 'bm25'"):
        resolve(parse_params(tree), "text")


def test_options_of_a_rival_are_checked_with_its_key(tree: dict[str, Any]) -> None:
    tree["text"]["rivals"] = {"other": {"family": "hashing", "dmi": 3}}

    with pytest.raises(UnknownNameError, match=r"text\.rivals\.other: .*'dmi'"):
        resolve(parse_params(tree), "text")


def test_the_effective_settings_have_a_stage_per_enabled_rival(tree: dict[str, Any]) -> None:
    tree["text"]["rivals"] = {"on": {"family": "hashing"}, "off": {"family": "hashing", "enabled": False}}  # fmt: skip

    enabled = yaml.safe_load(resolved_text(parse_params(tree)))["enabled"]

    assert list(enabled["rivals"]) == ["text-on"]
    assert enabled["rivals"]["text-on"]["module"] == "hashing"
    assert "text-on" not in enabled["embed"]
