from __future__ import annotations

from pathlib import Path

import pytest

from experiments.ablation_grid import Ablation
from experiments.factors import levels
from experiments.methods import compared_methods
from polydistill.config.overrides import changed
from polydistill.config.params import load_params
from polydistill.data.modalities import MODALITIES
from polydistill.errors import ParamsError
from polydistill.stages.resolve import resolve

ROOT = Path(__file__).parents[2]
PARAMS = load_params(ROOT)


def test_the_ablation_has_at_most_twenty_levels_and_all_resolve() -> None:
    grid = levels(PARAMS, "text")

    assert len({level.name for level in grid}) == len(grid) <= 20
    assert {level.factor for level in grid} == {
        "", "loss", "weighting", "teachers", "geometry", "heads",
    }  # fmt: skip
    for level in grid:
        resolve(changed(PARAMS, {**level.overrides, "seed": 1}), "text")


@pytest.mark.parametrize("modality", MODALITIES.names())
def test_every_modality_has_its_own_small_setting(modality: str) -> None:
    plan = Ablation(ROOT, PARAMS, modality)

    assert len({one.factor for one in plan.levels}) == 6
    assert {key.partition(".")[0] for key in plan.setting} == {modality}
    small, full = plan.params.modality(modality), PARAMS.modality(modality)
    assert small.corpus.rows is not None
    assert full.corpus.rows is not None
    assert small.corpus.rows < full.corpus.rows
    assert small.corpus.rows % small.store.shard_rows == 0  # only whole shards can be copied


def test_every_level_has_different_parameters() -> None:
    trees = [
        changed(PARAMS, {**one.overrides, "seed": 0}).model_dump_json()
        for one in levels(PARAMS, "text")
    ]

    assert len(set(trees)) == len(trees)


def test_another_plug_in_does_not_inherit_the_options_of_the_default() -> None:
    """A rank that suits heads with a linear map would be a bottleneck for heads without one."""
    shared = next(one for one in levels(PARAMS, "text") if one.level == "shared-trunk")

    heads = changed(PARAMS, {**shared.overrides, "seed": 0}).modality("text").heads

    assert (heads.name, heads.options) == ("shared-trunk", {})


def test_teachers_are_added_in_the_order_of_the_enabled_teachers() -> None:
    first_two = next(one for one in levels(PARAMS, "text") if one.name == "teachers-2")

    active = list(changed(PARAMS, {**first_two.overrides, "seed": 0}).enabled_teachers("text"))

    assert active == list(PARAMS.enabled_teachers("text"))[:2]


def test_the_compared_methods_differ_only_in_the_parameters_they_compare() -> None:
    methods = {
        one.name: changed(PARAMS, {**one.overrides, "seed": 2})
        for one in compared_methods(PARAMS, "text")
    }

    assert list(methods)[:6] == ["default", "paper", "mse", "cosine", "simreg", "compress"]
    assert len(methods) == 6 + len(PARAMS.enabled_teachers("text"))
    assert {params.seed for params in methods.values()} == {2}
    for name, params in methods.items():
        resolve(params, "text")
        assert params.modality("text").student == PARAMS.modality("text").student
        assert params.modality("text").training.epochs == PARAMS.modality("text").training.epochs
        assert (params.modality("text").heads == PARAMS.modality("text").heads) is (
            name != "simreg"
        )
    assert methods["compress"].modality("text").loss_weight == 0
    assert list(methods["only use-m3"].enabled_teachers("text")) == ["use-m3"]


def test_a_method_without_any_loss_is_refused() -> None:
    with pytest.raises(ParamsError, match="loss_weight must be above 0"):
        changed(PARAMS, {"text.loss_weight": 0.0, "text.geometry_weight": 0.0})
