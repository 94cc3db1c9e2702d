"""The contract of every data recipe. New plug-ins are tested automatically."""

from __future__ import annotations

import re

import pytest

from polydistill.data.modalities import MODALITIES
from recipes.contracts import Recipe
from recipes.modalities import RECIPES

NAMES = RECIPES.names()


def recipe(name: str) -> Recipe:
    built: Recipe = RECIPES.get(name)()
    return built


def test_plug_ins_are_found() -> None:
    assert "text" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_has_the_name_of_a_modality_or_of_another_corpus_of_one(name: str) -> None:
    assert name.partition("-")[0] in MODALITIES.names()


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_gives_the_origin_and_licence_of_every_table(name: str) -> None:
    origins = recipe(name).origins

    assert "corpus.parquet" in origins
    assert any(path.startswith("tasks/") for path in origins) or "-" in name
    for path, origin in origins.items():
        assert path.endswith(".parquet")
        assert origin.source
        assert origin.licence
        assert "|" not in origin.source + origin.licence  # would break the table in SOURCES.md


@pytest.mark.parametrize("name", NAMES)
def test_third_party_packages_are_pinned(name: str) -> None:
    for task in recipe(name).third_party_tasks.values():
        assert re.fullmatch("[0-9a-f]{64}", task.package.sha256)
        assert task.package.version
