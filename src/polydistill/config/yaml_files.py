"""Reads YAML files of people: scalars as in YAML 1.2, as DVC reads them; each damaged file is one typed error."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from polydistill.errors import ParamsError

MAX_DEPTH = 40
CONFLICT = re.compile(r"^(?:<{7}|>{7})(?: |$)", re.MULTILINE)
SCALARS = {
    "bool": ("true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),  # 010 would be 8 or 10
    "float": (
        r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.inf)|\.nan",
        "-+.0123456789",
    ),
    "null": ("~|null|Null|NULL|", ["~", "n", "N", ""]),
    "merge": ("<<", "<"),
}
"""Patterns and first characters of scalars that are not strings. `no`, `1_000`, `1:30` and dates are strings."""


class _Loader(yaml.SafeLoader):
    """A `SafeLoader` of `SCALARS`, lists and mappings with distinct strings as keys, and nothing else."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  as in the base
    yaml_constructors = {  # noqa: RUF012
        tag: yaml.SafeLoader.yaml_constructors[tag]
        for tag in (
            None,
            *(
                f"tag:yaml.org,2002:{kind}"
                for kind in (*SCALARS, "str", "seq", "map")
                if kind != "merge"
            ),
        )
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.deep_construct = True  # refuses a node that contains itself
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ConstructorError(None, None, f"nested in more than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        seen: set[object] = set()
        for key, _ in node.value:
            name = self.construct_object(key)
            if key.tag.endswith(":merge"):
                continue
            if not isinstance(name, str):
                raise ConstructorError(
                    None, None, f"a key must be a string, got {key.value!r}", key.start_mark
                )
            if name in seen:
                raise ConstructorError(None, None, f"the key {name!r} occurs twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


for _kind, (_pattern, _first) in SCALARS.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )


def parse_yaml(text: str, source: object) -> Any:
    """Return the content of a YAML text.

    Args:
        text: The text.
        source: The name of the text in messages.

    Raises:
        ParamsError: The text is not YAML, has a conflict marker, a repeated key or a key that is no string.
    """
    if marker := CONFLICT.search(text):
        line = text.count("\n", 0, marker.start()) + 1
        raise ParamsError(
            f"{source} has a merge conflict at line {line}: edit it, and remove the lines with <<<<<<<, ======= and "
            ">>>>>>>."
        )
    try:
        return yaml.load(text, _Loader)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        because = " ".join(str(error).split())
        raise ParamsError(f"{source} is not YAML: {because}") from error


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        ParamsError: There is no such file, it cannot be read, or it is not a mapping in YAML.
    """
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise ParamsError(f"No file {path}.") from None
    except OSError as error:
        raise ParamsError(f"{path} must be a readable file: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path} must be a text in UTF-8: {error}. Save it as UTF-8.") from error
    if not isinstance(tree, dict):
        raise ParamsError(f"{path} must be a mapping, got {type(tree).__name__}.")
    return tree
