"""Changes of complete settings by dotted keys, for workspaces and comparisons."""

import copy
from collections.abc import Collection, Mapping

from polydistill.config.nodes import PLUGIN_KEYS
from polydistill.config.params import Params, parse_params
from polydistill.errors import UnknownNameError


def changed(params: Params, overrides: Mapping[str, object]) -> Params:
    """Return a copy of the settings with the values of some dotted keys replaced, as in `override`.

    Raises:
        ParamsError: A key is unknown, or a value is out of bounds.
    """
    tree = params.model_dump(mode="json")
    for key, value in overrides.items():
        override(tree, key, copy.deepcopy(value))
    return parse_params(tree)


def override(tree: dict[str, object], key: str, value: object) -> None:
    """Set a dotted key of complete settings in place; None removes an option of a plug-in.

    Raises:
        UnknownNameError: A part of the key does not exist, or there is no option to remove.
    """
    *path, last = key.split(".")
    node = tree
    for part in path:
        child = node.get(part)
        if not isinstance(child, dict):
            branches = [name for name, below in node.items() if isinstance(below, dict)]
            raise UnknownNameError(f"key in params.yaml: {key},", part, branches)
        node = child
    if value is None and last not in node:
        raise UnknownNameError(f"key in params.yaml: {key},", last, node)
    if value is None and PLUGIN_KEYS & node.keys():
        del node[last]
    else:
        node[last] = value


def only_teachers(params: Params, modality: str, names: Collection[str]) -> dict[str, object]:
    """Return the overrides that enable these teachers of a modality and disable all others.

    Raises:
        UnknownNameError: The modality has no teacher with one of these names.
    """
    teachers = params.modality(modality).teachers
    for name in names:
        if name not in teachers:
            raise UnknownNameError(f"teacher of {modality}", name, teachers)
    return {
        f"{modality}.teachers.{name}.enabled": name in names
        for name, row in teachers.items()
        if row.enabled != (name in names)
    }
