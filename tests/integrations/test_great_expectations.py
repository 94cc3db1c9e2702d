from __future__ import annotations

from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polydistill.contracts import Rule
from polydistill.errors import UnknownNameError, ValidationFailedError
from polydistill.integrations.great_expectations import GreatExpectationsChecker
from polydistill.stages.validate import validate
from tests.markup import HARMLESS, HOSTILE, Markup
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

    results = GreatExpectationsChecker(tmp_path / "docs").check(tables.items())

    assert results == PandasChecker().check(tables.items())


def test_data_docs_are_pages_made_anew(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "stale.html").touch()

    GreatExpectationsChecker(docs).check([("one", make_table())])

    assert (docs / "index.html").stat().st_size > 1000
    assert list((docs / "validations").rglob("*.html"))
    assert not (docs / "stale.html").exists()


def test_an_unknown_expectation_gets_a_suggestion(tmp_path: Path) -> None:
    rule = Rule("expect_column_values_to_be_uniqe", {"column": "id"}, "twice")

    with pytest.raises(UnknownNameError, match=r"Did you mean 'expect_column_values_to_be_unique'"):
        GreatExpectationsChecker(tmp_path).check([("one", (make_table()[0], [rule]))])


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


def docs_markup(docs: Path, words: list[str]) -> Markup:
    """Check two tables that have `words` as names, as columns and as values of failing rows; read every page."""
    tables = {}
    for number, name in enumerate(words[:2]):
        column, some = words[2 + number], words[number::2]
        rows = some + some  # each value occurs twice
        frame = pd.DataFrame({"id": rows, "text": rows, column: [*some, *(None for _ in some)]})
        kinds: list[tuple[str, dict[str, object]]] = [
            ("expect_column_values_to_be_unique", {"column": "id"}),
            ("expect_column_values_to_be_unique", {"column": column}),
            ("expect_column_values_to_not_be_null", {"column": column}),
            ("expect_column_values_to_not_be_null", {"column": words[5]}),
            ("expect_column_to_exist", {"column": words[6]}),
            ("expect_column_values_to_be_in_set", {"column": column, "value_set": words[7:9]}),
            ("expect_column_value_lengths_to_be_between", {"column": "text", "min_value": 999}),
            ("expect_column_values_to_be_between", {"column": "text", "min_value": 5}),  # raises
        ]
        tables[name] = (frame, [Rule(kind, rest, "a rule") for kind, rest in kinds])
    found = GreatExpectationsChecker(docs).check(tables.items())
    assert [one.column for part in found for one in part] == [
        rule.kwargs["column"] for _, rules in tables.values() for rule in rules
    ]
    return Markup("\n".join(page.read_text() for page in sorted(docs.rglob("*.html"))))


def test_markup_in_a_table_is_text_in_data_docs(tmp_path: Path) -> None:
    harmless = docs_markup(tmp_path / "harmless", HARMLESS)

    hostile = docs_markup(tmp_path / "hostile", HOSTILE)

    assert hostile.elements == harmless.elements
    assert not [link for link in hostile.links if link.startswith("javascript")]


def test_data_docs_show_the_values_themselves(tmp_path: Path) -> None:
    value = "a < b & \"c\" or 'd'"
    frame = pd.DataFrame({"id": [value, value]})

    GreatExpectationsChecker(tmp_path).check(
        [("one", (frame, [Rule("expect_column_values_to_be_unique", {"column": "id"}, "twice")]))]
    )

    (page,) = (tmp_path / "validations").rglob("*.html")
    assert f">{value}<" in unescape(page.read_text())
