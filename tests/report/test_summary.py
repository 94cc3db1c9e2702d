from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from polydistill.errors import MissingDataError
from polydistill.report.summary import render, summarise
from tests.report.example_run import MODELS, example_params, write_run


def test_the_summary_has_a_row_a_model_and_a_column_a_kind(tmp_path: Path) -> None:
    write_run(tmp_path)

    summary = summarise(tmp_path, example_params(), "text")

    kinds = ("classification", "clustering", "regression", "sts")
    assert summary.columns == ("model", "role", *kinds, "mean", "parameters", "MB", "examples/s")
    assert [row[0] for row in summary.rows] == list(MODELS)
    assert all(len(row) == len(summary.columns) for row in summary.rows)
    assert [row[1] for row in summary.rows[:3]] == ["student", "undistilled", "teacher"]
    assert summary.rows[0][7] == 480
    assert summary.rows[0][-1] is None
    assert summary.verdict == "Promoted: the student is champion."


def test_the_terminal_shows_every_model_and_the_verdict(tmp_path: Path) -> None:
    write_run(tmp_path, without=("verdict",))
    console = Console(width=120, record=True, file=(tmp_path / "out").open("w"))

    console.print(render(summarise(tmp_path, example_params(), "text")))

    shown = console.export_text()
    assert all(name in shown for name in MODELS)
    assert "The gate has not run." in shown


def test_without_scores_there_is_no_summary(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"scores\.json"):
        summarise(tmp_path, example_params(), "text")
