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

from polydistill.errors import StageError

STAGE_VARIABLE = "DVC_STAGE"
"""In which DVC tells a stage's command what stage it is."""
CODE = "src/"
ITEM = re.compile(r"\$\{item(?:\.(\w+))?\}")
MISSING = "missing"


@contextmanager
def steady_inputs(root: Path) -> Iterator[None]:
    """Refuse a stage whose code or parameters were edited while it ran; without DVC do nothing.

    DVC looks at what a stage depends on when the stage has ended, and would keep the result as that of code and
    parameters that it never saw: a later run would take it from the cache.

    Raises:
        StageError: One of them has changed.
    """
    stage = os.environ.get(STAGE_VARIABLE, "").rpartition(":")[2]
    before = _inputs(root, stage) if stage else {}
    yield
    after = _inputs(root, stage) if stage else {}
    if changed := sorted(name for name in before | after if before.get(name) != after.get(name)):
        raise StageError(
            f"{', '.join(changed)} changed while the stage {stage!r} ran, so that its result is of neither: "
            "run it again, and edit when it has ended."
        )


def _inputs(root: Path, stage: str) -> dict[str, str]:
    """Return a digest of each code dependency and parameter that `dvc.yaml` names for the stage."""
    name, _, key = stage.partition("@")
    graph = _read(root / "dvc.yaml")["stages"]
    params = _read(root / "params.yaml")
    entry: Mapping[str, Any] = graph[name].get("do", graph[name])
    item = params["embed"][key] if name == "embed" else key
    found = {}
    for dependency in entry.get("deps", []):
        path = _filled(dependency, item)
        if path.startswith(CODE):
            found[path] = _digest_of(root / path)
    for parameter in entry.get("params", []):
        path = _filled(parameter, item)
        found[f"params.yaml's {path}"] = _digest(repr(_value(params, path)).encode())
    return found


def _filled(template: str, item: str | Mapping[str, str]) -> str:
    """Put the stage's item, or what a key of it says, where DVC does."""
    return ITEM.sub(
        lambda match: item if isinstance(item, str) else item[str(match[1])],
        template,
    )


def _value(tree: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(tree, Mapping) or key not in tree:
            return MISSING
        tree = tree[key]
    return tree


def _digest_of(path: Path) -> str:
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    told = [f"{file}: {_digest(file.read_bytes()) if file.exists() else MISSING}" for file in files]
    return _digest("\n".join(told).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
