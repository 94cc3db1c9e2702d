"""A stage's code and parameters, seen to be at its end what they were at its start."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from polydistill.config.params import (
    PARAMS_FILE,
    RESOLVED_FILE,
    Params,
    is_resolved,
    load_params,
)
from polydistill.errors import ParamsError, StageError

STAGE_VARIABLE = "DVC_STAGE"
"""Set by DVC for a stage's command: the name of the stage."""
CODE, PARAMS = ("src/", "recipes"), f"{RESOLVED_FILE}: "
PACKAGE = Path(__file__).parents[1]
ITEM = re.compile(r"\$\{item(?:\.(\w+))?\}")
MISSING = "missing"


@contextmanager
def steady_inputs(root: Path) -> Iterator[None]:
    """Refuse a stage whose code or parameters were edited while it ran; without DVC do nothing.

    DVC looks at what a stage depends on when the stage has ended, and would keep the result as that of code and
    parameters that it never saw: a later run would take it from the cache. Data are not looked at: the flow
    pulls them before its first stage, and reading them twice would take long.

    Raises:
        StageError: One of them has changed.
    """
    stage = os.environ.get(STAGE_VARIABLE, "").rpartition(":")[2]
    named = _named(root, stage) if stage else []
    before = [_digest_of(root, name) for name in named]
    yield
    after = [_digest_of(root, name) for name in named]
    changed = [name for name, old, new in zip(named, before, after, strict=True) if old != new]
    if changed:
        raise StageError(
            f"{', '.join(changed)} changed while the stage {stage!r} ran, so its result belongs to neither version: "
            "run it again, and edit after it has ended."
        )


def stage_params(root: Path) -> Params:
    """Return the settings that a stage runs with; under DVC they are those that DVC compares.

    Called inside `steady_inputs`, so that they stay so until the stage's end.

    Raises:
        ParamsError: `params.yaml` is not valid or, under DVC, `params.resolved.yaml` is out of date.
    """
    params = load_params(root)
    if os.environ.get(STAGE_VARIABLE) and not is_resolved(root, params):
        raise ParamsError(
            f"{RESOLVED_FILE} is not what {PARAMS_FILE} says now: run `polydistill params --write`, "
            "and then the stage again."
        )
    return params


def _named(root: Path, stage: str) -> list[str]:
    """Return the code and the parameters that `dvc.yaml` names for the stage."""
    name, _, key = stage.partition("@")
    graph = yaml.safe_load((root / "dvc.yaml").read_bytes())["stages"]
    entry: Mapping[str, Any] = graph[name].get("do", graph[name])
    item = _params(root)["enabled"]["embed"][key] if name == "embed" else key
    code = [_filled(one, item) for one in entry.get("deps", []) if one.startswith(CODE)]
    files = [one for one in entry.get("params", []) if isinstance(one, Mapping)]
    keys = [key for file in files for key in file.get(str(RESOLVED_FILE), [])]
    return [*code, *(PARAMS + _filled(key, item) for key in keys)]


def _filled(template: str, item: str | Mapping[str, str]) -> str:
    """Put the stage's item, or what a key of it says, where DVC does."""
    return ITEM.sub(lambda match: item if isinstance(item, str) else item[str(match[1])], template)


def _digest_of(root: Path, name: str) -> str:
    if name.startswith(PARAMS):
        return _digest(repr(_value(_params(root), name.removeprefix(PARAMS))).encode())
    # A workspace has a copy of the code that DVC looks at; what runs is the package that is installed.
    places = {(root / name).resolve(), PACKAGE.parent / name.removeprefix("src/")}
    return " ".join(_digest_of_files(place) for place in sorted(places))


def _digest_of_files(path: Path) -> str:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    told = [
        f"{file.relative_to(path)} {_digest(file.read_bytes())}"
        for file in files
        if file.is_file() and "__pycache__" not in file.parts
    ]
    return _digest("\n".join(told).encode())


def _params(root: Path) -> Any:
    """Return the parameters that DVC compares, or `MISSING` while the file cannot be read."""
    try:
        return yaml.safe_load((root / RESOLVED_FILE).read_bytes())
    except (OSError, yaml.YAMLError):
        return MISSING


def _value(tree: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(tree, Mapping) or key not in tree:
            return MISSING
        tree = tree[key]
    return tree


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
