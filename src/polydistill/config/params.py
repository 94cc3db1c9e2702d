"""Read `params.yaml`, complete it with the defaults, and write the effective values that DVC compares.

The user's values replace the modality's defaults in `defaults/<modality>.yaml`, which replace the defaults of
the classes in this package. A teacher row without `family` names a known teacher, whose weights are pinned in
`weights/<modality>.yaml`.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from polydistill.config.data import TaskParams, TeacherParams
from polydistill.config.nodes import Plugin, checked_name
from polydistill.config.training import CallParams, MethodParams
from polydistill.config.tree import MODALITIES, ModalityParams, Params, node_class
from polydistill.config.yaml_files import read_mapping
from polydistill.errors import ParamsError, UnknownNameError, short
from polydistill.plugins import names_in

__all__ = [
    "PARAMS_FILE", "RESOLVED_FILE", "ModalityParams", "Params", "call_params", "is_resolved", "load_params",
    "method_params", "parse_params", "read_mapping", "read_tree", "resolved_text", "task_params", "write_resolved",
]  # fmt: skip
PARAMS_FILE = Path("params.yaml")
RESOLVED_FILE = Path("params.resolved.yaml")
MAX_ERRORS = 10
DEPENDENCIES = 2
"""The number of a teacher's files that an embed stage in `dvc.yaml` depends on."""
Model = TypeVar("Model", bound=BaseModel)
HEADER = """\
# Written by `polydistill params --write` from params.yaml and the defaults; do not edit: change params.yaml.
# DVC compares these values. Why they are in a file: `docs/decisions/0009-effective-values-in-a-file.md`.
"""


def parse_params(tree: Mapping[str, object]) -> Params:
    """Complete plain values with the defaults, and validate them.

    Raises:
        ParamsError: A key is unknown or missing, or a value is out of bounds; the message names it.
    """
    return _validated(Params, compose(tree), "params.yaml")


def method_params(modality: str, own: Mapping[str, Any]) -> MethodParams:
    """Return the settings of the distillation method: the caller's values, completed with the modality's defaults.

    Args:
        modality: The modality whose defaults apply.
        own: The caller's values of `student`, `loss`, `training` and the other keys of `MethodParams`.

    Raises:
        ParamsError: A key is unknown, or a value is out of bounds.
    """
    for key in own:
        if key not in MethodParams.model_fields:
            raise UnknownNameError("setting", str(key), MethodParams.model_fields)
    default = modality_defaults(modality)
    kept = {key: value for key, value in default.items() if key in MethodParams.model_fields}
    return _validated(MethodParams, merged(MethodParams, kept, own), "settings")


def call_params(**own: object) -> CallParams:
    """Return the checked arguments of a call of the Python interface.

    Raises:
        ParamsError: A value is out of bounds; the message names the argument.
    """
    return _validated(CallParams, own, "argument")


def load_params(root: Path = Path()) -> Params:
    """Read `params.yaml` in the project folder `root`.

    Raises:
        ParamsError: There is no such file, it is not YAML, or `parse_params` refuses it.
    """
    return parse_params(read_tree(root))


def read_tree(root: Path) -> dict[str, Any]:
    """Return the content of `params.yaml`, without defaults.

    Raises:
        ParamsError: There is no such file, or it is not a mapping in YAML.
    """
    if not os.path.lexists(root / PARAMS_FILE):
        raise ParamsError(
            f"No {PARAMS_FILE} in {root.resolve()}: run polydistill in a project folder."
        )
    return read_mapping(root / PARAMS_FILE)


def task_params(name: str, own: Mapping[str, Any]) -> TaskParams:
    """Return the settings of one benchmark task outside a project.

    Raises:
        ParamsError: A key is unknown or missing, a value is out of bounds, or the name cannot name a task.
    """
    checked_name(name)
    return _validated(TaskParams, {"domain": "out", "path": "a DataFrame", **own}, f"task {name!r}")


def compose(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a user's settings completed with the defaults, not yet validated.

    Complete settings are returned unchanged.

    Raises:
        ParamsError: The tree has an unknown teacher without a family.
    """
    blocks = {key: block for key, block in tree.items() if key not in Params.model_fields}
    composed, known = {"modalities": list(blocks), **tree}, names_in(MODALITIES)
    for name, block in blocks.items():
        if isinstance(block, Mapping) and name in known:
            composed[name] = _composed_block(name, block)
    return composed


def modality_defaults(modality: str) -> dict[str, Any]:
    """Return the default block of a modality: its packaged YAML file, and the default plug-ins that the file omits."""
    plugins = {
        key: field.default.model_dump()
        for key, field in ModalityParams.model_fields.items()
        if isinstance(field.default, Plugin)
    }
    return plugins | _packaged("defaults", modality)


def known_teachers(modality: str) -> dict[str, Any]:
    """Return the teachers whose weights are pinned in this package, by name."""
    return _packaged("weights", modality)


def _composed_block(modality: str, block: Mapping[str, Any]) -> dict[str, Any]:
    composed = merged(ModalityParams, modality_defaults(modality), block)
    for key in ("teachers", "rivals"):
        if isinstance(rows := block.get(key), Mapping):
            composed[key] = {
                name: _composed_row(modality, key, str(name), row) for name, row in rows.items()
            }
    return composed


def _composed_row(modality: str, key: str, name: str, row: object) -> object:
    own: object = {} if row is None else row
    if not isinstance(own, Mapping) or "family" in own:
        return own
    known = known_teachers(modality)
    if name not in known:
        raise UnknownNameError(
            f"{key[:-1]} in params.yaml, {modality}.{key} (a row without `family`)", name, known
        )
    return {**known[name], **own}


def merged(
    node: type[BaseModel], default: Mapping[str, Any], own: Mapping[str, Any]
) -> dict[str, Any]:
    """Replace defaults of a node by a user's values.

    A user's plug-in that has a `name` replaces the whole default plug-in, options included. Without a `name`, it
    replaces only the options that it gives.
    """
    both = {**default, **own}
    for key in default.keys() & own.keys():
        below, value = node_class(node, key), own[key]
        if not isinstance(value, Mapping) or not isinstance(default[key], Mapping) or not below:
            continue
        if below is not Plugin:
            both[key] = merged(below, default[key], value)
        elif "name" not in value:
            both[key] = {**default[key], **value}
    return both


@cache
def _packaged(folder: str, modality: str) -> dict[str, Any]:
    file = files("polydistill.config") / folder / f"{modality}.yaml"
    return dict(yaml.safe_load(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def resolved_text(params: Params) -> str:
    """Return the content of `params.resolved.yaml`: every effective value, and the block `enabled`.

    `enabled` lists the enabled modalities, each modality's enabled teachers in the order of `params.yaml`, and the
    pairs of both under `embed`, with the files that the embed stage depends on; `rivals` has the pairs of modalities and
    rivals. `dvc.yaml` defines one stage per modality or pair, and `distill` depends on its modality's list of teachers.
    The rows of the teachers do not repeat the key `enabled`.
    """
    blocks = {name: params.modality(name) for name in params.modalities}
    enabled = {
        "modalities": list(params.modalities),
        "teachers": {name: list(params.enabled_teachers(name)) for name in params.modalities},
        "embed": _embedded(
            "teachers", {name: block.enabled_teachers for name, block in blocks.items()}
        ),
        "rivals": _embedded(
            "rivals", {name: block.enabled_rivals for name, block in blocks.items()}
        ),
    }
    tree = params.model_dump(mode="json", include={*Params.model_fields, *params.modalities})
    del tree["modalities"]
    for name in params.modalities:
        for row in tree[name]["teachers"].values():
            del row["enabled"]
    text: str = yaml.safe_dump({"enabled": enabled, **tree}, sort_keys=False, allow_unicode=True)
    return HEADER + text


def _embedded(
    key: str, rows: Mapping[str, Mapping[str, TeacherParams]]
) -> dict[str, dict[str, object]]:
    """Return what `dvc.yaml` needs for each stage that embeds; `rows` holds the teachers or rivals by modality.

    `key` is that of the rows in `params.yaml`.
    """
    return {
        f"{modality}-{name}": {
            "modality": modality,
            "teacher": name,
            "module": row.module,
            "files": _dependencies(f"{modality}.{key}.{name}", modality, row),
        }
        for modality, by_name in rows.items()
        for name, row in by_name.items()
    }


def _dependencies(where: str, modality: str, teacher: TeacherParams) -> list[str]:
    """Return the paths of a teacher's files, which DVC hashes; always two, because `dvc.yaml` cannot vary their number.

    Raises:
        ParamsError: There are more than two files, and they have no folder in common.
    """
    paths, filler = teacher.files, f"data/{modality}"  # the stage depends on this folder anyway
    if len(paths) > DEPENDENCIES:
        with suppress(ValueError):  # relative and absolute paths
            paths = (os.path.commonpath(paths),)
        if len(paths) > 1 or not paths[0]:
            raise ParamsError(
                f"{where}: keep its files in one folder, got {', '.join(teacher.files)}."
            )
    return [*paths, *[filler] * (DEPENDENCIES - len(paths))]


def write_resolved(root: Path, params: Params) -> list[str]:
    """Bring `params.resolved.yaml` up to date, and return the keys of its new stages `embed@…` and `embed-rival@…`."""
    if is_resolved(root, params):
        return []
    path = root / RESOLVED_FILE
    before = _embed_keys(path)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(resolved_text(params), encoding="utf-8")
    unfinished.replace(path)
    keys = [key for name in params.modalities for key in params.embed_keys(name)]
    return [key for key in keys if key not in before]


def _embed_keys(path: Path) -> set[str]:
    """Return the keys of the stages that embed in a resolved file; none if it is missing or damaged."""
    try:
        enabled = yaml.safe_load(path.read_text(encoding="utf-8"))["enabled"]
        return {
            *enabled["embed"],
            *enabled.get("rivals", ()),
        }  # a file of an earlier release has none
    except (FileNotFoundError, yaml.YAMLError, TypeError, KeyError, AttributeError):
        return set()


def is_resolved(root: Path, params: Params) -> bool:
    """Return whether `params.resolved.yaml` is up to date."""
    path = root / RESOLVED_FILE
    return path.is_file() and path.read_text(encoding="utf-8") == resolved_text(params)


def _validated(node: type[Model], tree: Mapping[str, Any], source: str) -> Model:
    """Return the validated node.

    Raises:
        ParamsError: The values are invalid. The message has one line per error, and suggests a name for an unknown key.
    """
    try:
        return node.model_validate(tree)
    except ValidationError as error:
        raise ParamsError("\n".join(_explained(error, node, source))) from error


def _explained(error: ValidationError, node: type[BaseModel], source: str) -> Iterator[str]:
    for finding in error.errors()[:MAX_ERRORS]:
        where = ".".join(str(part) for part in finding["loc"] if part != "[key]")
        if finding["type"] == "extra_forbidden":
            *path, key = map(str, finding["loc"])
            parent = node
            for part in path:  # `node_class` returns None for a key of a mapping of nodes
                parent = node_class(parent, part) or parent
            yield str(UnknownNameError(f"key in {source}: {where},", key, parent.model_fields))
        elif finding["type"] == "value_error":
            yield f"{source}: {where}{': ' if where else ''}{finding['ctx']['error']}"
        else:
            got = "" if finding["type"] == "missing" else f" (got {short(finding['input'])})"
            yield f"{source}: {where}: {finding['msg']}{got}."
    if error.error_count() > MAX_ERRORS:
        yield f"{error.error_count() - MAX_ERRORS} more errors."
