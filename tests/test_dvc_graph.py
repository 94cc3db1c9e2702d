"""The `deps` of each stage in dvc.yaml contain the code that it runs, according to the import graph."""

from __future__ import annotations

from pathlib import Path

import grimp
import pytest
import yaml

from polydistill.config.params import load_params, resolved_text
from tests.toy_project import REPOSITORY

STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
PARAMS = STAGES.pop(
    "params"
)  # not a stage of a modality: it writes the settings that stages depend on
SOURCE = Path("src")
EDGES = ("cli", "flows", "integrations", "report")
FOUNDATION = frozenset(
    {
        "config", "contracts", "errors", "plugins", "project.card", "project.checksums", "project.files",
        "project.layout",
    }
)  # fmt: skip
"""Code that every stage uses. It is not in `deps`: after a change, run `dvc repro -f`."""
PLUG_INS = {
    "fetch-data": {"data.modalities"},
    "validate": {"data.modalities"},
    "embed": {"data.modalities", "teachers"},
    "embed-rival": {"data.modalities", "teachers"},
    "distill": {
        "data.modalities", "heads", "losses", "losses.relational", "students", "training.weighting",
    },
    "evaluate": {"data.modalities", "evaluation.rivals", "evaluation.tasks", "students"},
}  # fmt: skip
"""The plug-in packages that a stage resolves names in. No import statement shows them."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("polydistill", "recipes", cache_dir=None)


def code_deps(stage: str) -> list[Path]:
    deps = STAGES[stage]["do"]["deps"]
    return [Path(dep) for dep in deps if dep.startswith(("src/", "recipes"))]


def file_of(module: str) -> Path:
    path = (SOURCE if module.startswith("polydistill") else Path()).joinpath(*module.split("."))
    return path if (REPOSITORY / path).is_dir() else path.with_suffix(".py")


def is_covered(module: str, deps: list[Path]) -> bool:
    path = file_of(module)
    return any(path == dep or dep in path.parents for dep in deps)


def entry_of(stage: str) -> str:
    module = stage.replace("-", "_")
    return "recipes.fetch" if stage == "fetch-data" else f"polydistill.stages.{module}"


def needed_modules(graph: grimp.ImportGraph, entry: str) -> set[str]:
    """Return the modules that a file imports, directly or indirectly, without the foundation and plug-in tables."""
    modules = {entry, *graph.find_upstream_modules(entry)} - {"polydistill"}
    return {
        module
        for module in modules
        if not FOUNDATION & {module.partition(".")[2], module.split(".")[1]}
        and not (
            REPOSITORY / file_of(module)
        ).is_dir()  # an __init__ only holds a table of plug-ins
    }


@pytest.mark.parametrize("stage", STAGES)
def test_deps_cover_what_the_stage_imports(graph: grimp.ImportGraph, stage: str) -> None:
    deps = code_deps(stage)

    missing = {
        module for module in needed_modules(graph, entry_of(stage)) if not is_covered(module, deps)
    }

    assert missing == set()


@pytest.mark.parametrize("stage", STAGES)
def test_deps_contain_the_plug_in_packages_that_the_stage_resolves(stage: str) -> None:
    deps = [Path(str(dep).removesuffix("/${item.module}.py")) for dep in code_deps(stage)]

    assert {
        package for package in PLUG_INS[stage] if not is_covered(f"polydistill.{package}", deps)
    } == set()


@pytest.mark.parametrize("stage", STAGES)
def test_deps_cover_what_the_plug_ins_of_its_packages_import(
    graph: grimp.ImportGraph, stage: str
) -> None:
    missing = {}
    for package in PLUG_INS[stage]:
        for entry in sorted(graph.find_children(f"polydistill.{package}")):
            deps = [
                Path(str(dep).replace("${item.module}", entry.rpartition(".")[2]))
                for dep in code_deps(stage)
            ]
            if unmet := {m for m in needed_modules(graph, entry) if not is_covered(m, deps)}:
                missing[entry] = unmet

    assert missing == {}


@pytest.mark.parametrize("stage", STAGES)
def test_deps_contain_only_code_that_the_stage_uses(graph: grimp.ImportGraph, stage: str) -> None:
    plug_ins = (
        entry
        for package in PLUG_INS[stage]
        for entry in graph.find_children(f"polydistill.{package}")
    )
    entries = (entry_of(stage), *plug_ins)
    used = {file_of(m) for entry in entries for m in needed_modules(graph, entry)}

    unused = [
        dep
        for dep in (Path(str(dep).removesuffix("/${item.module}.py")) for dep in code_deps(stage))
        if not any(file == dep or dep in file.parents for file in used)
    ]

    assert unused == []


@pytest.mark.parametrize("stage", STAGES)
def test_deps_contain_no_outer_layer(stage: str) -> None:
    deps = STAGES[stage]["do"]["deps"]

    assert not [dep for dep in deps if set(Path(dep).with_suffix("").parts) & set(EDGES)]


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_imports_an_outer_layer(graph: grimp.ImportGraph, stage: str) -> None:
    edges = {
        module for module in needed_modules(graph, entry_of(stage)) if module.split(".")[1] in EDGES
    }

    assert edges == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_one_command_and_depends_on_its_own_file(stage: str) -> None:
    others = {"fetch-data": "python -m recipes fetch ", "embed-rival": "polydistill embed "}
    command = others.get(stage, f"polydistill {stage} ")

    assert STAGES[stage]["do"]["cmd"].startswith(command)
    assert is_covered(entry_of(stage), code_deps(stage))


def test_the_effective_settings_depend_on_params_yaml_and_the_defaults() -> None:
    assert PARAMS["deps"] == ["params.yaml", "src/polydistill/config"]
    assert list(PARAMS["outs"][0]) == ["params.resolved.yaml"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("modality", load_params(REPOSITORY).modalities)
def test_every_parameter_of_a_stage_is_an_effective_setting(stage: str, modality: str) -> None:
    params = load_params(REPOSITORY)
    tree = yaml.safe_load(resolved_text(params))
    key = "rivals" if stage == "embed-rival" else "embed"
    items: dict[str, dict[str, str]] = tree["enabled"][key]
    item = next((row for row in items.values() if row["modality"] == modality), None)
    if item is None:
        assert stage == "embed-rival"  # not every modality has a rival
        return
    [files] = STAGES[stage]["do"]["params"]
    keys = [
        key.replace("${item.modality}", modality)
        .replace("${item.teacher}", item["teacher"])
        .replace("${item}", modality)
        for key in files["params.resolved.yaml"]
    ]

    for key in keys:
        node = tree
        for part in key.split("."):
            assert part in node, key
            node = node[part]
