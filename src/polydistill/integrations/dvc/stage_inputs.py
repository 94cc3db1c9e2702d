"""Detects a change of a stage's code or parameters while the stage runs."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from polydistill.config.params import PARAMS_FILE, RESOLVED_FILE, Params, is_resolved, load_params
from polydistill.errors import ParamsError, StageError

STAGE_VARIABLE = "DVC_STAGE"
"""The environment variable in which DVC passes the stage's name to its command."""
CODE = ("src/", "recipes")
PACKAGE = Path(__file__).parents[1]
ITEM = re.compile(r"\$\{item(?:\.(\w+))?\}")


@contextmanager
def steady_inputs(root: Path) -> Iterator[None]:
    """Fail a stage whose code or parameters were edited while it ran; do nothing without DVC.

    DVC reads the dependencies when the stage has ended. After an edit it would store the result under code and
    parameters that the stage never used, and a later run would restore that result from the cache. Data are not
    compared: the flow pulls them before its first stage, and reading them twice would take a long time.

    Raises:
        StageError: Code or a parameter has changed.
    """
    stage = os.environ.get(STAGE_VARIABLE, "").rpartition(":")[2]
    code, keys = _named(root, stage) if stage else ([], [])
    before = _snapshot(root, code, keys)
    yield
    after = _snapshot(root, code, keys)
    changed = [name for name, value in before.items() if after[name] != value]
    if changed:
        raise StageError(
            f"{', '.join(changed)} changed while the stage {stage!r} ran, so its result belongs to neither version: "
            "run it again, and edit after it has ended."
        )


def stage_params(root: Path) -> Params:
    """Return the settings that a stage runs with; under DVC, the settings that DVC compares.

    Call this inside `steady_inputs`, which detects a change before the stage ends.

    Raises:
        ParamsError: `params.yaml` is not valid or, under DVC, `params.resolved.yaml` is out of date.
    """
    params = load_params(root)
    if os.environ.get(STAGE_VARIABLE) and not is_resolved(root, params):
        raise ParamsError(
            f"{RESOLVED_FILE} does not match {PARAMS_FILE}: run `polydistill params --write`, "
            "and then the stage again."
        )
    return params


def _named(root: Path, stage: str) -> tuple[list[str], list[str]]:
    """Return the code paths and the parameter keys that `dvc.yaml` lists for the stage."""
    name, _, key = stage.partition("@")
    graph = yaml.safe_load((root / "dvc.yaml").read_bytes())["stages"]
    entry: Mapping[str, Any] = graph[name].get("do", graph[name])
    pairs = {"embed": "embed", "embed-rival": "rivals"}.get(name)
    item: Any = _params(root)["enabled"][pairs][key] if pairs else key

    def filled(template: str) -> str:
        return ITEM.sub(lambda match: item if match[1] is None else item[match[1]], template)

    code = [filled(one) for one in entry.get("deps", []) if one.startswith(CODE)]
    files = [one for one in entry.get("params", []) if isinstance(one, Mapping)]
    return code, [filled(one) for file in files for one in file.get(str(RESOLVED_FILE), [])]


def _snapshot(root: Path, code: Sequence[str], keys: Sequence[str]) -> dict[str, object]:
    """Return the digests of the code and the values of the parameters, by name."""
    found: dict[str, object] = {}
    for name in code:
        # DVC compares the workspace's copy of the code, but the stage runs the installed package.
        places = {(root / name).resolve(), PACKAGE.parent / name.removeprefix("src/")}
        found[name] = [_digests(place) for place in sorted(places)]
    params = _params(root)
    for key in keys:
        value = params
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        found[f"{RESOLVED_FILE}: {key}"] = value
    return found


def _params(root: Path) -> Any:
    """Return the parameters that DVC compares; empty if the file cannot be read."""
    try:
        return yaml.safe_load((root / RESOLVED_FILE).read_bytes())
    except (OSError, yaml.YAMLError):
        return {}


def _digests(path: Path) -> list[tuple[Path, str]]:
    """Return the sha256 of a file, or of each file in a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [
        (file, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in files
        if file.is_file() and "__pycache__" not in file.parts
    ]
