from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.method_comparison import compare_methods
from experiments.methods import chosen_methods
from polydistill.config.params import load_params
from polydistill.errors import MissingDataError, UnknownNameError
from tests.comparison_project import REPOSITORY, make_comparison_project

pytest.importorskip("mteb")


class RecordingProgress:
    """Records the trials that were run, and interrupts the run before it exceeds `at_most` trials."""

    def __init__(self, at_most: int = 99) -> None:
        self.trials: list[str] = []
        self._at_most = at_most

    def __call__(self, what: str, done: int, total: int, **figures: float) -> None:
        if what.startswith("trial "):
            self.trials.append(what.removeprefix("trial "))
            assert {"score", "seconds"} == set(figures)
        elif len(self.trials) == self._at_most and "steps" in what:
            raise KeyboardInterrupt


def results(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "docs" / "results" / "text").glob("*")}


@pytest.mark.slow
def test_a_killed_comparison_resumes_and_a_finished_one_runs_nothing(tmp_path: Path) -> None:
    params = make_comparison_project(tmp_path)
    chosen = chosen_methods(params, "text", ["mse", "compress", "only second"])
    assert [method.name for method in chosen] == ["default", "mse", "compress", "only second"]
    before = {path: path.is_dir() for path in (tmp_path / "artifacts").rglob("*")}

    with pytest.raises(KeyboardInterrupt):
        compare_methods(
            tmp_path, params, "text", methods=chosen, seeds=(0, 1), progress=RecordingProgress(3)
        )
    partial = compare_methods(tmp_path, params, "text", methods=chosen, seeds=(0, 1), at_most=0)
    assert (partial.completion.finished, partial.completion.trials) == (3, 8)
    assert results(tmp_path) == {}

    rest, nothing = RecordingProgress(), RecordingProgress()
    report = compare_methods(tmp_path, params, "text", methods=chosen, seeds=(0, 1), progress=rest)
    assert len(rest.trials) == 5
    first = results(tmp_path)
    assert {"methods.json", "methods.md"} <= set(first)
    compare_methods(tmp_path, params, "text", methods=chosen, seeds=(0, 1), progress=nothing)

    assert nothing.trials == []
    assert results(tmp_path) == first
    assert report.completion.is_complete
    assert set(report.domains["all"].teachers) == {"first", "second"}
    over = report.domains["all"].over_teachers["first"]["mean"]
    assert over.low < over.mean < over.high
    assert json.loads(first["methods.json"])["seeds"] == [0, 1]
    assert {path: path.is_dir() for path in (tmp_path / "artifacts").rglob("*")} == before


def test_an_unknown_method_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    params = make_comparison_project(tmp_path)

    with pytest.raises(UnknownNameError, match="'msee'.*mse"):
        chosen_methods(params, "text", ["msee"])


def test_a_comparison_needs_the_teachers_embeddings(tmp_path: Path) -> None:
    params = load_params(REPOSITORY)

    with pytest.raises(MissingDataError, match="dvc repro evaluate@text"):
        compare_methods(tmp_path, params, "text")
