"""Contract of every registered data recipe; new plug-ins are tested automatically."""

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


def test_the_package_has_plug_ins() -> None:
    assert "text" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_bears_a_modality_s_name(name: str) -> None:
    assert name in MODALITIES.names()


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_a_corpus_and_every_table_s_origin_and_licence(name: str) -> None:
    origins = recipe(name).origins

    assert "corpus.parquet" in origins
    assert any(path.startswith("tasks/") for path in origins)
    for path, origin in origins.items():
        assert path.endswith(".parquet")
        assert origin.source
        assert origin.licence
        assert "|" not in origin.source + origin.licence  # a cell of a table


@pytest.mark.parametrize("name", NAMES)
def test_what_it_reads_on_this_machine_is_pinned(name: str) -> None:
    for task in recipe(name).third_party_tasks.values():
        assert re.fullmatch("[0-9a-f]{64}", task.package.sha256)
        assert task.package.version
