from __future__ import annotations

import json
from pathlib import Path

import pytest

from polydistill.errors import DataError, MissingDataError
from polydistill.project.reports import read_report
from polydistill.report.results import write_results


def test_numbers_are_rounded_at_every_depth_and_keys_are_sorted(tmp_path: Path) -> None:
    write_results(tmp_path / "new", "found", {"b": (0.12345, {"c": [1.00001]}), "a": 7}, "# Page\n")

    text = (tmp_path / "new" / "found.json").read_text("utf-8")
    assert json.loads(text) == {"a": 7, "b": [0.1235, {"c": [1.0]}]}
    assert text.index('"a"') < text.index('"b"')
    assert (tmp_path / "new" / "found.md").read_text("utf-8") == "# Page\n"
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_a_number_that_json_has_no_word_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(tmp_path, "found", {"score": float("nan")}, "")

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "told"),
    [('{"half', "is damaged: .* Run the distill stage again"), ("[1]", r"got \[1\]")],
)
def test_a_report_that_is_damaged_is_named_with_what_to_do(
    tmp_path: Path, content: str, told: str
) -> None:
    path = tmp_path / "distill.json"
    with pytest.raises(MissingDataError, match="run the distill stage first"):
        read_report(path, "distill")
    path.write_text(content)

    with pytest.raises(DataError, match=told):
        read_report(path, "distill")
