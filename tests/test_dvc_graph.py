"""A stage's `deps` in dvc.yaml name the code it runs: compared with the import graph."""

from __future__ import annotations

from pathlib import Path

import grimp
import pytest
import yaml

from polydistill.params import load_params
from tests.toy_project import REPOSITORY

STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
SOURCE = Path("src")
EDGES = ("cli", "flows", "integrations", "report")
FOUNDATION = frozenset(
    {
        "contracts", "environment", "errors", "fetch", "files", "layout", "locate", "params", "plugins",
        "progress", "scores", "tables", "tracking",
    }
)  # fmt: skip
"""What every stage stands on, and no stage's numbers hang on alone: a change here is `dvc repro -f`."""
ROOMS = {
    "local-data": {"modalities", "recipes"},
    "validate": {"modalities"},
    "embed": {"modalities", "teachers"},
    "distill": {"geometry", "heads", "losses", "modalities", "students", "training"},
    "evaluate": {"benchmarks", "modalities", "students"},
}
"""Rooms that a stage reads by name, which no import statement shows."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("polydistill")


def code_deps(stage: str) -> list[Path]:
    deps = STAGES[stage]["do"]["deps"]
    return [Path(dep) for dep in deps if dep.startswith("src/")]


def file_of(module: str) -> Path:
    path = SOURCE.joinpath(*module.split("."))
    return path if (REPOSITORY / path).is_dir() else path.with_suffix(".py")


def is_covered(module: str, deps: list[Path]) -> bool:
    path = file_of(module)
    return any(path == dep or dep in path.parents for dep in deps)


def entry_of(stage: str) -> str:
    return f"polydistill.stages.{stage.replace('-', '_')}"


def needed_modules(graph: grimp.ImportGraph, entry: str) -> set[str]:
    """Return what a file imports, through whatever, without foundation and registries."""
    modules = {entry, *graph.find_upstream_modules(entry)} - {"polydistill"}
    return {
        module
        for module in modules
        if module.split(".")[1] not in FOUNDATION
        and not (REPOSITORY / file_of(module)).is_dir()  # a room's __init__ holds its registry
    }


@pytest.mark.parametrize("stage", STAGES)
def test_deps_cover_what_the_stage_imports(graph: grimp.ImportGraph, stage: str) -> None:
    deps = code_deps(stage)

    missing = {
        module for module in needed_modules(graph, entry_of(stage)) if not is_covered(module, deps)
    }

    assert missing == set()


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_the_rooms_that_the_stage_looks_names_up_in(stage: str) -> None:
    rooms = {dep.parts[2] for dep in code_deps(stage)}

    assert rooms >= ROOMS[stage]


@pytest.mark.parametrize("stage", STAGES)
def test_deps_cover_what_the_plug_ins_of_its_rooms_import(
    graph: grimp.ImportGraph, stage: str
) -> None:
    missing = {}
    for room in ROOMS[stage]:
        for entry in sorted(graph.find_children(f"polydistill.{room}")):
            deps = [
                Path(str(dep).replace("${item.module}", entry.rpartition(".")[2]))
                for dep in code_deps(stage)
            ]
            if unmet := {m for m in needed_modules(graph, entry) if not is_covered(m, deps)}:
                missing[entry] = unmet

    assert missing == {}


@pytest.mark.parametrize("stage", STAGES)
def test_deps_hold_nothing_that_the_stage_does_not_use(
    graph: grimp.ImportGraph, stage: str
) -> None:
    plug_ins = (
        entry for room in ROOMS[stage] for entry in graph.find_children(f"polydistill.{room}")
    )
    entries = (entry_of(stage), *plug_ins)
    used = {m.split(".")[1] for entry in entries for m in needed_modules(graph, entry)}

    unused = [dep for dep in code_deps(stage) if dep.with_suffix("").parts[2] not in used]

    assert unused == []


@pytest.mark.parametrize("stage", STAGES)
def test_deps_never_name_an_edge(stage: str) -> None:
    deps = STAGES[stage]["do"]["deps"]

    assert not [dep for dep in deps if set(Path(dep).with_suffix("").parts) & set(EDGES)]


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_imports_an_edge(graph: grimp.ImportGraph, stage: str) -> None:
    edges = {
        module for module in needed_modules(graph, entry_of(stage)) if module.split(".")[1] in EDGES
    }

    assert edges == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_one_command_of_ours_named_after_its_file(stage: str) -> None:
    assert STAGES[stage]["do"]["cmd"].startswith(f"polydistill {stage} ")
    assert REPOSITORY / SOURCE / "polydistill" / "stages" / f"{stage.replace('-', '_')}.py" in {
        REPOSITORY / dep for dep in code_deps(stage)
    }


@pytest.mark.parametrize("modality", load_params(REPOSITORY).modalities)
def test_every_block_writes_out_what_the_stages_hang_on(modality: str) -> None:
    tree = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    keys = [
        key.partition(".")[2]
        for stage in STAGES.values()
        for key in stage["do"].get("params", ())
        if key.startswith("${item}.")
    ]

    missing = []
    for key in keys:
        node = tree[modality]
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if node is None:
            missing.append(key)

    assert not missing, f"DVC reads params.yaml, not our defaults: write {missing} into {modality}"
