from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments.__main__ import experiments
from experiments.readme import BEGIN, END, README, results, updated_readme
from polydistill.config.params import load_params
from polydistill.errors import DataError
from tests.comparison_project import REPOSITORY
from tests.made_headline import made_headline
from tests.our_params import our_params

PARAMS = load_params(REPOSITORY)


def test_the_readme_of_this_repository_is_what_the_command_writes() -> None:
    text = (REPOSITORY / README).read_text(encoding="utf-8")

    assert updated_readme(REPOSITORY, PARAMS) == text


def test_the_table_has_the_rows_that_decide_and_names_what_is_not_measured() -> None:
    text = results(
        {"text": made_headline(), "vision": None, "molecules": made_headline("molecules")}
    )

    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[0] == (
        "| | | mean | the default minus it | MB | examples/s | above the default in |"
    )
    names = ["**default**", "only small", "undistilled", "rival table", "rival bm25", "teacher big"]
    assert [line.split(" | ")[1] for line in rows[1:]] == names * 2
    assert rows[1] == (
        "| [text](docs/results/text/headline.md) | **default** | 0.500 ±0.000 | - | 2.5 | 12,346 | - |"
    )
    assert rows[2].startswith("|  | only small | 0.480 ±0.000 | +0.020 [+0.0")
    assert rows[5] == "|  | rival bm25 | - | - | - | - | clustering |"
    assert rows[6].endswith("| 90.0 | - | classification, clustering, regression |")
    assert rows[7].startswith("| [molecules](docs/results/molecules/headline.md) | **default** |")
    assert "- text: Among students and rivals, the default has the highest score in" in text
    assert text.endswith(
        "Not in the table yet: vision. `make headline` measures them and writes the table."
    )


def test_without_a_headline_the_text_says_which_command_measures_it() -> None:
    assert results({"text": None, "vision": None}) == (
        "Not in the table yet: text, vision. `make headline` measures them and writes the table."
    )


def test_only_the_text_between_the_markers_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme, folder = tmp_path / README, tmp_path / "docs" / "results" / "text"
    readme.write_text(f"# Name\n\n{BEGIN}\nold\n{END}\n\nEnd.\n", encoding="utf-8")
    (tmp_path / "params.yaml").write_text(json.dumps(our_params()), encoding="utf-8")
    folder.mkdir(parents=True)
    (folder / "headline.json").write_text(json.dumps(asdict(made_headline())), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    outdated = CliRunner().invoke(experiments, ["readme", "--check"])
    written = CliRunner().invoke(experiments, ["readme"])
    checked = CliRunner().invoke(experiments, ["readme", "--check"])

    assert (outdated.exit_code, written.exit_code, checked.exit_code) == (DataError.exit_code, 0, 0)
    assert "run `python -m experiments readme`" in outdated.output
    text = readme.read_text(encoding="utf-8")
    assert text.startswith(f"# Name\n\n{BEGIN}\nMean scores over")
    assert text.endswith(
        f"Not in the table yet: vision, molecules. `make headline` measures them and writes the table.\n{END}\n\nEnd.\n"
    )


def test_a_readme_without_markers_is_an_error(tmp_path: Path) -> None:
    (tmp_path / README).write_text(f"{END}\n{BEGIN}\n", encoding="utf-8")

    with pytest.raises(DataError, match="must have the lines <!-- headline: begin -->"):
        updated_readme(tmp_path, PARAMS)
