from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from polydistill.contracts import Progress, silent
from polydistill.errors import DataError, UnknownNameError
from recipes.build import build_data
from recipes.contracts import BuiltData, Origin, ThirdPartyTask
from recipes.modalities import RECIPES


class MadeRecipe:
    """A recipe with two tables that needs no package; see `contracts.Recipe`."""

    notice = "Made for a test."
    origins: Mapping[str, Origin] = {
        "corpus.parquet": Origin("nothing", "CC0"),
        "tasks/odd.parquet": Origin("numbers", "MIT"),
    }
    third_party_tasks: Mapping[str, ThirdPartyTask] = {}
    rows = 3

    def build(
        self, downloads: Path, folder: Path, *, refetch: bool = False, progress: Progress = silent
    ) -> BuiltData:
        progress("made", 1, 1)
        frame = pd.DataFrame({"id": list(map(str, range(self.rows)))})
        frames = {"corpus.parquet": frame, "tasks/odd.parquet": frame.tail(1)}
        left_out = {"odd": {"even": 1 + refetch}}
        return BuiltData(frames, {"LICENSE-made.txt": "do as you like\n"}, left_out)


class OtherRecipe(MadeRecipe):
    notice = "Made for another."
    rows = 5


@pytest.fixture(autouse=True)
def recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"made": MadeRecipe, "other": OtherRecipe}
    monkeypatch.setattr(RECIPES, "names", lambda: sorted(made))
    monkeypatch.setattr(RECIPES, "_entries", made)


def test_a_build_writes_tables_and_licences_and_counts_rows(tmp_path: Path) -> None:
    report = build_data(tmp_path, "made", refetch=True)

    assert len(pd.read_parquet(tmp_path / "data" / "made" / "corpus.parquet")) == 3
    assert (tmp_path / "data" / "LICENSE-made.txt").read_text() == "do as you like\n"
    assert report.rows == {"corpus.parquet": 3, "tasks/odd.parquet": 1}
    assert report.left_out == {"odd": {"even": 2}}


def test_sources_list_the_tables_of_all_modalities_after_any_build(tmp_path: Path) -> None:
    build_data(tmp_path, "other")
    build_data(tmp_path, "made")
    both = (tmp_path / "data" / "SOURCES.md").read_text()

    build_data(tmp_path, "other")

    digest = hashlib.sha256((tmp_path / "data/other/corpus.parquet").read_bytes()).hexdigest()
    assert (tmp_path / "data" / "SOURCES.md").read_text() == both
    assert both.startswith("# Sources\n\nMade for a test.\n\nMade for another.\n\n| file |")
    assert [line.split(" | ")[0] for line in both.splitlines()[8:]] == [
        "| made/corpus.parquet",
        "| made/tasks/odd.parquet",
        "| other/corpus.parquet",
        "| other/tasks/odd.parquet",
    ]
    assert f"| other/corpus.parquet | nothing | CC0 | 5 | {digest} |" in both


def test_a_build_of_one_modality_keeps_the_files_of_the_others(tmp_path: Path) -> None:
    build_data(tmp_path, "other")
    before = (tmp_path / "data/other/corpus.parquet").stat().st_mtime_ns

    build_data(tmp_path, "made")

    assert (tmp_path / "data/other/corpus.parquet").stat().st_mtime_ns == before


def test_a_table_without_an_origin_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MadeRecipe, "origins", {"corpus.parquet": Origin("nothing", "CC0")})

    with pytest.raises(DataError, match=r"'made' must give an origin for tasks/odd.parquet"):
        build_data(tmp_path, "made")

    assert not (tmp_path / "data").exists()


def test_an_unknown_recipe_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'made'"):
        build_data(tmp_path, "mode")
