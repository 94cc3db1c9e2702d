"""Effective settings with their defaults, bounds, units and descriptions, for `polydistill params`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from polydistill.config.nodes import PLUGIN_KEYS
from polydistill.config.params import known_teachers, modality_defaults
from polydistill.config.tree import Params, node_class

Path = tuple[str, ...]
OptionDefaults = Callable[[str, str], Mapping[str, object]]
"""Returns the default options of a plug-in, given its key, such as `student`, and its name (teachers: family)."""
COMPARISONS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
REQUIRED = "(required)"


@dataclass(frozen=True)
class Setting:
    """One effective setting.

    Attributes:
        key: The dotted key, such as `text.training.epochs`.
        value: The effective value.
        default: The value that applies if `params.yaml` does not set the key; `(required)` if the key has no default.
        is_set: Whether `params.yaml` has the key.
        bound: The allowed range, such as `≥ 1`, or the allowed choices.
        unit: The unit, such as `rows`, `s` or `MB`; empty for a plain number or a name.
        description: One sentence, or an empty string.
    """

    key: str
    value: object
    default: object
    is_set: bool
    bound: str
    unit: str
    description: str


def describe(
    params: Params, own: Mapping[str, Any], modality: str, option_defaults: OptionDefaults
) -> list[Setting]:
    """Return the settings common to all modalities, and then those of one modality.

    Args:
        params: The effective settings.
        own: The content of `params.yaml`, from `read_tree`.
        modality: The modality whose settings are returned.
        option_defaults: Returns a plug-in's default options in code. They apply if neither `params.yaml` nor
            `config/defaults` sets them.

    Raises:
        UnknownNameError: The modality is not enabled in `params.yaml`.
    """
    block = params.modality(modality).model_dump(mode="json")
    tree = params.model_dump(mode="json", include={*Params.model_fields}) | {modality: block}
    known = known_teachers(modality)
    defaults = {
        "modalities": [key for key in own if key not in Params.model_fields],
        modality: {**modality_defaults(modality), "teachers": known, "rivals": known},
    }
    options: dict[Path, Mapping[str, object]] = {}
    nodes: dict[Path, Any] = {(key,): node for key, node in block.items()}
    for key in ("teachers", "rivals"):
        nodes |= {(key, name): row for name, row in block[key].items()}
    for path, node in nodes.items():
        if isinstance(node, dict) and (name := node.get("name") or node.get("family")):
            options[(modality, *path)] = found = option_defaults(path[0], name)
            node |= {key: value for key, value in found.items() if key not in node}
    return [_setting(path, value, own, defaults, options) for path, value in _leaves(tree, ())]


def _setting(
    path: Path,
    value: object,
    own: Mapping[str, Any],
    defaults: Mapping[str, Any],
    options: Mapping[Path, Mapping[str, object]],
) -> Setting:
    *parents, last = path
    kind, key = _node_of(path)
    field, schema = kind.model_fields.get(key), _schema(kind).get(key, {})
    limits = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
    default = options.get(tuple(parents), {}).get(last, REQUIRED)
    if field is not None and not field.is_required():
        default = field.get_default(call_default_factory=True)
    block = _at(own, tuple(parents))
    named = isinstance(block, Mapping) and bool(PLUGIN_KEYS & block.keys())
    # A plug-in that `params.yaml` names gets no options from the modality's defaults.
    if last in PLUGIN_KEYS or not named:
        default = _at(defaults, path, default)
    return Setting(
        key=".".join(path),
        value=value,
        default=default,
        is_set=_at(own, path, REQUIRED) is not REQUIRED,
        bound=_bound(limits),
        unit=limits.get("unit", schema.get("unit", "")),
        description=schema.get("description", ""),
    )


def flatten(tree: Mapping[str, Any]) -> dict[str, object]:
    """Return the leaves of nested mappings by dotted path, without empty mappings.

    Examples:
        >>> flatten({"seed": 0, "loss": {"name": "mse"}})
        {'seed': 0, 'loss.name': 'mse'}
    """
    return {".".join(map(str, path)): value for path, value in _leaves(tree, ()) if value != {}}


def _leaves(tree: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _node_of(path: Path) -> tuple[type[BaseModel], str]:
    """Return the class that defines the last key of a path, and that key.

    For a key inside a free-form mapping, return the class that defines the mapping, and the key of the mapping.
    """
    kind: type[BaseModel] = Params
    for key in path[:-1]:
        below = node_class(kind, key)
        if key in kind.model_fields and below is None:
            return kind, key
        kind = below or kind
    return kind, path[-1]


def _at(tree: Any, path: Path, missing: object = None) -> Any:
    """Return the value at a path of nested mappings, or `missing`."""
    for key in path:
        if not isinstance(tree, Mapping) or key not in tree:
            return missing
        tree = tree[key]
    return tree


@cache
def _schema(kind: type[BaseModel]) -> dict[str, Any]:
    properties: dict[str, Any] = kind.model_json_schema()["properties"]
    return properties


def _bound(limits: Mapping[str, Any]) -> str:
    if "enum" in limits:
        return " | ".join(map(str, limits["enum"]))
    found = [f"{sign} {limits[word]}" for word, sign in COMPARISONS.items() if word in limits]
    return ", ".join(found)
