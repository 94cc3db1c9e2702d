"""Composition of the settings in `params.yaml` with the defaults, once, when the file is read.

The user's values replace the modality's defaults in `defaults/<modality>.yaml`, and those replace the defaults of
the classes. A teacher row without `family` names a known teacher, whose weights `weights/<modality>.yaml` pins.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import BaseModel

from polydistill.config.nodes import Plugin
from polydistill.config.tree import MODALITIES, ModalityParams, Params, node_class
from polydistill.errors import ParamsError, UnknownNameError
from polydistill.plugins import names_in


def compose(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a user's settings completed with the defaults, not yet validated.

    Complete settings are returned unchanged.

    Raises:
        ParamsError: The tree has the block `embed` of earlier versions, or an unknown teacher without a family.
    """
    if "embed" in tree:
        raise ParamsError(
            "params.yaml has the block `embed` of an earlier version: delete it, and write `enabled: false` "
            "into the row of each teacher that `embed` did not list."
        )
    blocks = {key: block for key, block in tree.items() if key not in Params.model_fields}
    composed, known = {"modalities": list(blocks), **tree}, names_in(MODALITIES)
    for name, block in blocks.items():
        if isinstance(block, Mapping) and name in known:
            composed[name] = _composed_block(name, block)
    return composed


def modality_defaults(modality: str) -> dict[str, Any]:
    """Return the default block of a modality; default plug-ins are complete."""
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
    rows = block.get("teachers")
    if isinstance(rows, Mapping):
        composed["teachers"] = {
            name: _composed_teacher(modality, str(name), row) for name, row in rows.items()
        }
    return composed


def _composed_teacher(modality: str, name: str, row: object) -> object:
    own: object = {} if row is None else row
    if not isinstance(own, Mapping) or "family" in own:
        return own
    known = known_teachers(modality)
    if name not in known:
        raise UnknownNameError(
            f"teacher in {modality}.teachers (a row without `family`)", name, known
        )
    return {**known[name], **own}


def merged(
    node: type[BaseModel], default: Mapping[str, Any], own: Mapping[str, Any]
) -> dict[str, Any]:
    """Replace defaults of a node by a user's values; a plug-in with a name replaces the default plug-in."""
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
