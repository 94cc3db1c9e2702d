"""A new modality runs through the whole pipeline without changes to the core: see docs/guides/add-a-modality.md."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from polydistill.config.params import Params, load_params
from polydistill.data.modalities import MODALITIES
from polydistill.evaluation.drift import choose_columns
from polydistill.plugins import Plugins
from polydistill.project.layout import Layout
from polydistill.report.facts import collect
from polydistill.report.page import write_report
from polydistill.stages.distill import distill
from polydistill.stages.embed import embed
from polydistill.stages.evaluate import evaluate
from polydistill.stages.resolve import resolve
from polydistill.stages.validate import validate
from polydistill.teachers import TEACHERS
from recipes.build import build_data
from recipes.fetch import fetch_data
from recipes.modalities import RECIPES
from tests.our_params import our_params
from tests.small_data import PandasChecker

PLUGINS = Path(__file__).with_name("tones")
REGISTRIES: dict[str, Plugins[Any]] = {
    "modalities": MODALITIES,
    "recipes": RECIPES,
    "teachers": TEACHERS,
}
"""The folders below `tones`, and the registry that each is added to."""
TASKS = {
    "shape": {"kind": "classification", "path": "data/tones/tasks/shape.parquet", "domain": "in"},
    "shapes": {"kind": "clustering", "path": "data/tones/tasks/shape.parquet", "domain": "in"},
    "loudness": {"kind": "regression", "path": "data/tones/tasks/loudness.parquet", "domain": "in"},
    "alike": {"kind": "sts", "path": "data/tones/tasks/alike.parquet", "domain": "out"},
}


@pytest.fixture(scope="module")
def packages() -> Iterator[None]:
    """Install the plug-ins of `tones` into the plug-in packages, and remove the modality and recipe of text."""
    for registry in REGISTRIES.values():
        for name in registry.names():
            registry.get(name)  # loaded now, so that the patch removes later registrations
    with pytest.MonkeyPatch.context() as patch:
        for folder, registry in REGISTRIES.items():
            package = importlib.import_module(registry.package)
            assert package.__spec__ is not None
            folders = [*package.__path__, str(PLUGINS / folder)]
            patch.setattr(package, "__path__", folders)
            patch.setattr(package.__spec__, "submodule_search_locations", folders)
            others = {name: one for name, one in registry._entries.items() if name != "text"}
            patch.setattr(registry, "_entries", others)
            for file in (PLUGINS / folder).glob("*.py"):
                patch.delitem(sys.modules, f"{registry.package}.{file.stem}", raising=False)
            if folder != "teachers":
                patch.setitem(
                    sys.modules, f"{registry.package}.text", None
                )  # makes the import fail
        yield


def write_params(root: Path) -> Params:
    """Write a `params.yaml` with `tones` as the only modality."""
    tree = our_params()
    block = tree.pop("text")
    block["corpus"] = {"path": "data/tones/corpus.parquet", "rows": 240, "held_out": 0.2}
    block["tasks"] = TASKS
    block["teachers"] = {
        "spectrum": {"family": "spectrum"},
        "hashed": {"family": "hashing", "dim": 16, "n": 2},
    }
    block["student"] = {"name": "bag-of-bytes", "dim": 16}
    block["heads"] = {"name": "low-rank", "hidden": 16}
    block |= {"geometry": {"name": "consensus-similarity"}, "geometry_weight": 3.0}
    block["training"] |= {"epochs": 10, "batch_size": 32, "head_warmup_steps": 5}
    tree["modalities"], tree["tones"], tree["threads"] = ["tones"], block, 1
    (root / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return load_params(root)


@pytest.fixture(scope="module")
def done(packages: None, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A project in which the whole pipeline has run on tones."""
    root = tmp_path_factory.mktemp("tones")
    params = write_params(root)
    resolve(params, "tones")
    build_data(root, "tones")
    fetch_data(root, params, "tones")
    validate(root, params, "tones", PandasChecker())
    for teacher in params.enabled_teachers("tones"):
        embed(root, params, "tones", teacher)
    distill(root, params, "tones")
    evaluate(root, params, "tones")
    write_report(root, collect(root, params, "tones", speed=True))
    return Layout(root, "tones")


def test_the_text_plug_ins_are_unavailable(packages: None) -> None:
    with pytest.raises(ImportError):
        MODALITIES.get("text")


def test_every_model_has_a_score_on_every_task(done: Layout) -> None:
    scores = json.loads(done.scores.read_text())

    assert set(scores) == {"student", "undistilled", "spectrum", "hashed"}
    for by_kind in scores.values():
        assert {kind: set(names) for kind, names in by_kind.items()} == {
            "classification": {"shape"},
            "clustering": {"shapes"},
            "regression": {"loudness"},
            "sts": {"alike"},
        }


def test_the_student_learns_from_its_teachers(done: Layout) -> None:
    scores = json.loads(done.scores.read_text())

    for kind, task in [
        ("classification", "shape"),
        ("clustering", "shapes"),
        ("regression", "loudness"),
    ]:
        assert scores["student"][kind][task] > scores["undistilled"][kind][task] + 0.1


def test_the_report_shows_the_modality_and_no_other(done: Layout) -> None:
    page = done.page.read_text(encoding="utf-8")

    assert "student-tones" in page
    assert "loudness" in page
    assert "student-text" not in page


def test_the_folder_of_third_party_tasks_exists_and_is_empty(done: Layout) -> None:
    assert json.loads(done.local_status.read_text()) == {"available": {}, "unavailable": []}
    assert list((done.local / "tasks").iterdir()) == []


def test_sources_list_the_tables_of_the_modality(done: Layout) -> None:
    sources = (done.root / "data" / "SOURCES.md").read_text(encoding="utf-8")

    assert "Tones are made, not recorded." in sources
    assert "| tones/corpus.parquet | a seeded generator | CC0-1.0 | 240 |" in sources


def test_drift_uses_the_measures_of_the_modality(done: Layout) -> None:
    corpus = pd.read_parquet(done.root / "data" / "tones" / "corpus.parquet")

    names = choose_columns(corpus, MODALITIES.get("tones")())

    assert {"n_moments", "loudness", "is_repeated", "source=made"} <= set(names)
    assert not [name for name in names if "character" in name]
