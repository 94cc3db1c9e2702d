from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from experiments.__main__ import experiments
from experiments.headline import headline
from experiments.headline_page import markdown, read_headline
from experiments.method_comparison import NAME, compare_methods
from experiments.methods import chosen_methods
from polydistill.errors import MissingDataError
from polydistill.project.layout import Layout
from tests.comparison_project import COMPUTED, add_rivals, make_comparison_project

pytest.importorskip("mteb")


def test_the_headline_and_the_method_comparison_share_their_trials(tmp_path: Path) -> None:
    make_comparison_project(tmp_path)
    params = add_rivals(tmp_path)
    methods = chosen_methods(params, "text", ["paper", "only first", "only second"])
    reported: list[str] = []

    partial = headline(tmp_path, params, "text", seeds=(0,), at_most=1)
    assert "**PARTIAL: 1 of 4 trials are finished.**" in markdown(partial)
    assert not Layout(tmp_path, "text").results.exists()
    report = headline(tmp_path, params, "text", seeds=(0,))
    again = headline(
        tmp_path, params, "text", seeds=(0,), progress=lambda what, *_, **__: reported.append(what)
    )
    compared = compare_methods(tmp_path, params, "text", methods=methods, seeds=(0,), at_most=0)

    assert again == report == read_headline(Layout(tmp_path, "text").results)
    page = (Layout(tmp_path, "text").results / "headline.md").read_text(encoding="utf-8")
    assert page == markdown(report)
    assert not reported
    assert compared.completion.is_complete
    assert set(compared.domains["all"].teachers) == {"first", "second"}
    by_role: dict[str, list[str]] = {}
    for model in report.models:
        by_role.setdefault(model.role, []).append(model.name)
    assert by_role["student"][0] == "default"
    assert set(by_role["student"][1:3]) == {"only first", "only second"}
    assert by_role["student"][3:] == ["paper", "undistilled"]
    assert by_role["rival"] + by_role["reference"] == ["other", *COMPUTED]
    assert by_role["teacher"] == ["first", "second"]
    scores = {model.label: model.scores for model in report.models}
    assert set(scores["rival bm25"]) == {"retrieval"}
    assert scores["rival other"]["mean"].mean == scores["teacher first"]["mean"].mean
    default = compared.domains["all"].scores["default"]["mean"].mean
    assert scores["default"]["mean"].mean == pytest.approx(default, abs=1e-4)


def test_missing_embeddings_of_any_modality_are_found_before_the_first_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_comparison_project(tmp_path)
    params = tmp_path / "params.yaml"
    tree = yaml.safe_load(params.read_text(encoding="utf-8")) | {"modalities": ["text", "vision"]}
    params.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    answer = CliRunner().invoke(experiments, ["headline"])

    assert answer.exit_code == MissingDataError.exit_code
    assert "dvc repro evaluate@vision" in answer.output
    assert not (Layout(tmp_path, "text").scratch / NAME).exists()
