from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.method_comparison import compare_over_seeds
from experiments.methods import chosen_methods
from polydistill.errors import UnknownNameError
from tests.comparison_project import make_comparison_project

pytest.importorskip("mteb")


class Told:
    """Remembers the cells that were made; the run is killed before it makes more than `at_most`."""

    def __init__(self, at_most: int = 99) -> None:
        self.cells: list[str] = []
        self._at_most = at_most

    def __call__(self, what: str, done: int, total: int, **figures: float) -> None:
        if what.startswith("cell "):
            self.cells.append(what.removeprefix("cell "))
            assert {"score", "seconds"} == set(figures)
        elif len(self.cells) == self._at_most and "steps" in what:
            raise KeyboardInterrupt


def results(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "docs" / "results" / "text").glob("*")}


def test_a_killed_comparison_goes_on_and_an_unchanged_one_makes_nothing(tmp_path: Path) -> None:
    params = make_comparison_project(tmp_path)
    chosen = chosen_methods(params, "text", ["mse", "compress", "only second"])
    assert [method.name for method in chosen] == ["default", "mse", "compress", "only second"]
    before = {path: path.is_dir() for path in (tmp_path / "artifacts").rglob("*")}

    with pytest.raises(KeyboardInterrupt):
        compare_over_seeds(tmp_path, params, "text", methods=chosen, seeds=(0, 1), progress=Told(3))
    so_far = compare_over_seeds(tmp_path, params, "text", methods=chosen, seeds=(0, 1), at_most=0)
    assert (so_far.progressed.finished, so_far.progressed.cells) == (3, 8)
    assert results(tmp_path) == {}

    rest, nothing = Told(), Told()
    report = compare_over_seeds(
        tmp_path, params, "text", methods=chosen, seeds=(0, 1), progress=rest
    )
    assert len(rest.cells) == 5
    first = results(tmp_path)
    assert {"methods.json", "methods.md"} <= set(first)
    compare_over_seeds(tmp_path, params, "text", methods=chosen, seeds=(0, 1), progress=nothing)

    assert nothing.cells == []
    assert results(tmp_path) == first
    assert report.progressed.is_complete
    assert set(report.domains["all"].teachers) == {"first", "second"}
    over = report.domains["all"].over_teachers["first"]["mean"]
    assert over.low < over.mean < over.high
    assert json.loads(first["methods.json"])["seeds"] == [0, 1]
    assert {path: path.is_dir() for path in (tmp_path / "artifacts").rglob("*")} == before


def test_a_method_that_there_is_not_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    params = make_comparison_project(tmp_path)

    with pytest.raises(UnknownNameError, match="'msee'.*mse"):
        chosen_methods(params, "text", ["msee"])
