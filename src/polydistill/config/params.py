"""Reading of `params.yaml`, and writing of the effective values that DVC compares: `params.resolved.yaml`."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from polydistill.config.compose import compose, merged, modality_defaults
from polydistill.config.data import TaskParams
from polydistill.config.method import MethodParams
from polydistill.config.tree import NOT_AFFECTING_SCORES, ModalityParams, Params, node_class
from polydistill.errors import ParamsError, UnknownNameError

__all__ = [
    "NOT_AFFECTING_SCORES", "PARAMS_FILE", "RESOLVED_FILE", "ModalityParams", "Params", "is_resolved", "load_params",
    "method_params", "parse_params", "read_mapping", "read_tree", "resolved_text", "task_params", "write_resolved",
]  # fmt: skip
PARAMS_FILE = Path("params.yaml")
RESOLVED_FILE = Path("params.resolved.yaml")
Model = TypeVar("Model", bound=BaseModel)
HEADER = """\
# Written by `polydistill params --write` from params.yaml and the defaults; do not edit: change params.yaml.
# The parameters that DVC compares. `docs/decisions/0009-effective-values-in-a-file.md` has the reason.
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
            raise UnknownNameError("setting", key, MethodParams.model_fields)
    default = modality_defaults(modality)
    kept = {key: value for key, value in default.items() if key in MethodParams.model_fields}
    return _validated(MethodParams, merged(MethodParams, kept, own), "settings")


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
    if not (root / PARAMS_FILE).is_file():
        raise ParamsError(
            f"No {PARAMS_FILE} in {root.resolve()}: run polydistill in a project folder."
        )
    return read_mapping(root / PARAMS_FILE)


class _Loader(yaml.SafeLoader):
    """YAML 1.2, as DVC reads it: only `true` and `false` are booleans, so that `on:` is a key."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:bool"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF")
)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        ParamsError: There is no such file, or it is not a mapping in YAML.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506  a SafeLoader
    except FileNotFoundError:
        raise ParamsError(f"No file {path}.") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ParamsError(f"{path} must be a mapping, got {type(tree).__name__}.")
    return tree


def task_params(name: str, own: Mapping[str, Any]) -> TaskParams:
    """Return the settings of one benchmark task outside a project.

    Raises:
        ParamsError: A key is unknown or missing, or a value is out of bounds.
    """
    return _validated(TaskParams, {"domain": "out", "path": "a DataFrame", **own}, f"task {name!r}")


def resolved_text(params: Params) -> str:
    """Return the content of `params.resolved.yaml`: every effective value, and the block `enabled`.

    `enabled` lists the enabled modalities and, per modality, the enabled teachers in order. `dvc.yaml` makes one
    stage per entry, and a student depends on its modality's list. Teacher rows therefore have no key `enabled`.
    """
    enabled = {
        "modalities": list(params.modalities),
        "teachers": {name: list(params.enabled_teachers(name)) for name in params.modalities},
        "embed": {
            f"{name}-{teacher}": {"modality": name, "teacher": teacher, "module": row.module}
            for name in params.modalities
            for teacher, row in params.enabled_teachers(name).items()
        },
    }
    tree = params.model_dump(mode="json", include={*Params.model_fields, *params.modalities})
    del tree["modalities"]
    for name in params.modalities:
        for row in tree[name]["teachers"].values():
            del row["enabled"]
    text: str = yaml.safe_dump({"enabled": enabled, **tree}, sort_keys=False, allow_unicode=True)
    return HEADER + text


def write_resolved(root: Path, params: Params) -> list[str]:
    """Bring `params.resolved.yaml` up to date, and return the keys of its new `embed@…` stages."""
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
    """Return the keys of `embed@…` stages in a resolved file; none if it is missing or damaged."""
    try:
        return set(yaml.safe_load(path.read_text(encoding="utf-8"))["enabled"]["embed"])
    except (FileNotFoundError, yaml.YAMLError, TypeError, KeyError):
        return set()


def is_resolved(root: Path, params: Params) -> bool:
    """Return whether `params.resolved.yaml` is up to date."""
    path = root / RESOLVED_FILE
    return path.is_file() and path.read_text(encoding="utf-8") == resolved_text(params)


def _validated(node: type[Model], tree: Mapping[str, Any], source: str) -> Model:
    """Return the validated node, or raise one line per finding of pydantic, with a suggestion for an unknown key."""
    try:
        return node.model_validate(tree)
    except ValidationError as error:
        raise ParamsError("\n".join(_explained(error, node, source))) from error


def _explained(error: ValidationError, node: type[BaseModel], source: str) -> Iterator[str]:
    for finding in error.errors():
        where = ".".join(str(part) for part in finding["loc"])
        if finding["type"] == "extra_forbidden":
            *path, key = map(str, finding["loc"])
            parent = node
            for part in path:
                parent = (
                    node_class(parent, part) or parent
                )  # None: `part` is a key of a mapping of nodes
            yield str(UnknownNameError(f"key in {source}: {where},", key, parent.model_fields))
        elif finding["type"] == "value_error":
            yield str(finding["ctx"]["error"])
        else:
            got = "" if finding["type"] == "missing" else f" (got {finding['input']!r})"
            yield f"{source}: {where}: {finding['msg']}{got}."
