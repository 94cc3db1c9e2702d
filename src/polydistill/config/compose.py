"""Composition of the settings in `params.yaml` with the defaults, once, when the file is read.

The user's values replace the modality's defaults in `defaults/<modality>.yaml`, and those replace the defaults of
the classes. A teacher row without `family` names a known teacher, whose weights `weights/<modality>.yaml` pins.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import BaseModel

from polydistill.config.method import MethodParams
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
    _refuse_embed(tree)
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


def compose_method(modality: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the method in a modality's block, not yet validated."""
    default = modality_defaults(modality)
    kept = {key: value for key, value in default.items() if key in MethodParams.model_fields}
    return _merged(MethodParams, kept, own)


def known_teachers(modality: str) -> dict[str, Any]:
    """Return the teachers whose weights are pinned in this package, by name."""
    return _packaged("weights", modality)


def _composed_block(modality: str, block: Mapping[str, Any]) -> dict[str, Any]:
    composed = _merged(ModalityParams, modality_defaults(modality), block)
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


def _merged(
    node: type[BaseModel], default: Mapping[str, Any], own: Mapping[str, Any]
) -> dict[str, Any]:
    """Replace defaults of a node by a user's values; a plug-in with a name replaces the default plug-in."""
    merged = {**default, **own}
    for key in default.keys() & own.keys():
        below, value = node_class(node, key), own[key]
        if not isinstance(value, Mapping) or not isinstance(default[key], Mapping) or not below:
            continue
        if below is not Plugin:
            merged[key] = _merged(below, default[key], value)
        elif "name" not in value:
            merged[key] = {**default[key], **value}
    return merged


@cache
def _packaged(folder: str, modality: str) -> dict[str, Any]:
    file = files("polydistill.config") / folder / f"{modality}.yaml"
    return dict(yaml.safe_load(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _refuse_embed(tree: Mapping[str, Any]) -> None:
    """Raise if the settings have the block `embed` of earlier versions, and name its replacement."""
    if "embed" not in tree:
        return
    rows = tree["embed"].values() if isinstance(tree["embed"], Mapping) else ()
    enabled = {
        (row.get("modality"), row.get("teacher")) for row in rows if isinstance(row, Mapping)
    }
    off = [
        f"{modality}.teachers.{teacher}"
        for modality, block in tree.items()
        if isinstance(block, Mapping) and isinstance(block.get("teachers"), Mapping)
        for teacher in block["teachers"]
        if (modality, teacher) not in enabled
    ]
    advice = f", and write `enabled: false` into {', '.join(off)}" if off else ""
    raise ParamsError(
        "params.yaml has the block `embed` of an earlier version; now every teacher of a block is enabled, "
        f"unless its row says `enabled: false`. Delete the block{advice}."
    )
