from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polydistill.contracts import Rule
from polydistill.errors import UnknownNameError, ValidationFailedError
from polydistill.integrations.great_expectations import GreatExpectationsChecker
from polydistill.stages.validate import validate
from tests.small_data import PandasChecker, make_frames, write_project

pytest.importorskip("great_expectations")


def make_table() -> tuple[pd.DataFrame, list[Rule]]:
    """Return a table in which each kind of rule holds once and fails once."""
    frame = pd.DataFrame(
        {
            "id": ["a", "b", "b", None],
            "text": ["", "abc", "d", "e"],
            "number": [1.0, 2.0, np.nan, 9.0],
            "flag": [True, False, True, True],
        }
    )
    kwargs: list[tuple[str, dict[str, object]]] = [
        ("expect_column_to_exist", {"column": "nowhere"}),
        ("expect_column_to_exist", {"column": "id"}),
        ("expect_column_values_to_not_be_null", {"column": "id"}),
        ("expect_column_values_to_not_be_null", {"column": "text"}),
        ("expect_column_values_to_be_unique", {"column": "text"}),
        ("expect_column_values_to_be_unique", {"column": "id"}),
        ("expect_column_values_to_be_between", {"column": "number", "max_value": 5}),
        ("expect_column_values_to_be_between", {"column": "number", "min_value": 0}),
        ("expect_column_value_lengths_to_be_between", {"column": "text", "min_value": 1}),
        ("expect_column_values_to_be_in_set", {"column": "flag", "value_set": [True]}),
        ("expect_column_values_to_be_in_set", {"column": "flag", "value_set": [True, False]}),
    ]
    return frame, [Rule(kind, rest, f"rule {place}") for place, (kind, rest) in enumerate(kwargs)]


def test_results_are_those_of_plain_pandas_in_the_rules_order(tmp_path: Path) -> None:
    tables = {"one": make_table(), "two": make_table()}

    results = GreatExpectationsChecker(tmp_path / "docs").check(tables)

    assert results == PandasChecker().check(tables)


def test_data_docs_are_pages_made_anew(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "stale.html").touch()

    GreatExpectationsChecker(docs).check({"one": make_table()})

    assert (docs / "index.html").stat().st_size > 1000
    assert list((docs / "validations").rglob("*.html"))
    assert not (docs / "stale.html").exists()


def test_an_unknown_expectation_gets_a_suggestion(tmp_path: Path) -> None:
    rule = Rule("expect_column_values_to_be_uniqe", {"column": "id"}, "twice")

    with pytest.raises(UnknownNameError, match=r"Did you mean 'expect_column_values_to_be_unique'"):
        GreatExpectationsChecker(tmp_path).check({"one": (make_table()[0], [rule])})


def test_a_stage_with_it_stops_at_a_failure_and_shows_the_rows(tmp_path: Path) -> None:
    frames = make_frames()
    frames["topics"].loc[3, "label"] = None

    params = write_project(tmp_path, frames)

    with pytest.raises(
        ValidationFailedError, match=r"column 'label': 1 of 8 rows\)\.\n    row 3: "
    ):
        validate(tmp_path, params, "text", GreatExpectationsChecker(tmp_path / "docs"))


def test_a_stage_with_it_passes_sound_data(tmp_path: Path) -> None:
    params = write_project(tmp_path, make_frames())

    report = validate(tmp_path, params, "text", GreatExpectationsChecker(tmp_path / "docs"))

    assert report.tables == 4
