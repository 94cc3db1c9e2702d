# ruff: noqa: INP001 - mkdocs loads this file by its path
"""Pages that mkdocs generates from the code, so that they cannot go stale."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))  # this tree's package, wherever mkdocs is installed

from polydistill import errors
from polydistill.cli.app import app
from polydistill.config.params import ModalityParams, Params

COPIED = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those of `docs/`."""
    pages = {
        "reference/commands.md": commands(),
        "reference/settings.md": settings(),
        "reference/errors.md": error_tree(),
        **{page: copied(ROOT / name) for name, page in COPIED.items()},
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def copied(path: Path) -> str:
    """Return a page of the root, with the links that it has inside the site."""
    text = path.read_text(encoding="utf-8").replace("](docs/", "](")
    for name, page in COPIED.items():
        text = text.replace(f"]({name})", f"]({page})")
    return text.replace("](LICENSE)", "](https://www.apache.org/licenses/LICENSE-2.0)")


def commands() -> str:
    """Return the page of all commands, from the app itself."""
    root = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        "Every command of `polydistill`, generated from the command line itself.",
        "",
    ]
    lines += _command("polydistill", root)
    if root.epilog:
        codes = root.epilog.removeprefix("Exit codes: ").rstrip(".").split(" · ")
        lines += ["## Exit codes", "", "| code | meaning |", "|---:|---|"]
        lines += ["| {} | {} |".format(*code.split(" ", 1)) for code in codes]
    return "\n".join(lines)


def _command(name: str, command: Any) -> Iterator[str]:
    context = typer.Context(command, info_name=name)
    if hasattr(command, "list_commands"):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if not found.hidden:
                yield from _command(f"{name} {child}", found)
        return
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f"## `{name}`", "", command.help or "", "", "```text", f"{name} {usage}", "```", "")
    shown = [parameter for parameter in command.params if parameter.name != "help"]
    if shown:
        yield from ("| | kind | meaning |", "|---|---|---|")
        yield from (_parameter(parameter, context) for parameter in shown)
        yield ""
    if command.epilog:
        yield from (command.epilog, "")


def _parameter(parameter: Any, context: typer.Context) -> str:
    names, text = parameter.get_help_record(context) or (parameter.human_readable_name, "")
    if parameter.param_type_name == "argument":
        kind = "argument" if parameter.required else "optional argument"
    else:
        kind = "flag" if parameter.is_flag else "option"
    return f"| `{_cell(names)}` | {kind} | {_cell(text)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def settings() -> str:
    """Return the page of the settings tree, from the pydantic models."""
    lines = [
        "# Settings",
        "",
        "Every key of `params.yaml`, generated from the models that check it. An unknown key, a wrong type and a value out of its bounds are",
        "errors before the first stage. A plug-in (`student`, `heads`, `loss`, …) has a `name` and the options of that plug-in.",
        "",
        "## Top level",
        "",
        *_fields(Params, ""),
        "## A modality's block",
        "",
        "`text:`, `vision:`, `molecules:`, or the name of your own modality.",
        "",
        *_fields(ModalityParams, ""),
    ]
    return "\n".join(lines)


def _fields(model: type[BaseModel], prefix: str) -> Iterator[str]:
    yield from ("| key | type | default | meaning |", "|---|---|---|---|")
    nested: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        found = _models(field.annotation)
        keyed = get_origin(field.annotation) is dict
        path = f"{prefix}{name}" + (".*" if keyed else "")
        nested += [(path, one) for one in found if set(one.model_fields) != {"name"}]
        kind = "block" if found else _type(field.annotation, field.metadata)
        about = field.description or _first_sentence(found)
        yield f"| `{path.removeprefix(prefix)}` | {_cell(kind)} | {_default(field, found)} | {_cell(about)} |"
    yield ""
    for path, one in nested:
        yield from (f"### `{path}`", "", _first_paragraph(one), "", *_fields(one, f"{path}."))


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _type(annotation: Any, metadata: list[Any]) -> str:
    origin = get_origin(annotation)
    bounds = [
        f"{sign} {getattr(one, name)}"
        for one in metadata
        for name, sign in (
            ("ge", "≥"),
            ("gt", ">"),
            ("le", "≤"),
            ("lt", "<"),
            ("min_length", "at least"),
        )
        if getattr(one, name, None) is not None
    ]
    if origin is Annotated:
        first, *rest = get_args(annotation)
        words = _type(first, _constraints(rest))
    elif origin is Literal:
        words = " or ".join(f"`{value}`" for value in get_args(annotation))
    elif origin in {Union, UnionType}:
        words = " or ".join(_type(part, []) for part in get_args(annotation))
    elif origin in {tuple, dict}:
        inner = [_type(part, []) for part in get_args(annotation) if part is not Ellipsis]
        words = f"{'list' if origin is tuple else 'mapping'} of {' to '.join(dict.fromkeys(inner))}"
    else:
        words = {
            type(None): "null",
            str: "text",
            float: "number",
            int: "integer",
            bool: "true or false",
        }.get(annotation, getattr(annotation, "__name__", str(annotation)))
    return ", ".join([words, *bounds])


def _constraints(extras: list[Any]) -> list[Any]:
    return [
        one
        for extra in extras
        for one in (extra.metadata if isinstance(extra, FieldInfo) else [extra])
    ]


def _default(field: FieldInfo, found: list[type[BaseModel]]) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or (found and value is not None and value != ()):
        return "as below"
    return _cell(f"`{json.dumps(value, default=str, ensure_ascii=False)}`")


def _first_paragraph(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n\n")[0]


def _first_sentence(found: list[type[BaseModel]]) -> str:
    return _first_paragraph(found[0]) if found else ""


def error_tree() -> str:
    """Return the page of errors: the tree with exit codes, and what each leaf means."""
    tree = re.search(r"^PolydistillError.*\Z", errors.__doc__ or "", re.MULTILINE | re.DOTALL)
    lines = [
        "# Errors",
        "",
        "Everything that polydistill raises on purpose, with the exit code of a command that ends with it. Each error is also the built-in",
        "that it resembles. [The FAQ](../faq.md) lists messages and what to do about them.",
        "",
        "```text",
        tree[0].strip() if tree else "",
        "```",
        "",
        "::: polydistill.errors",
        "    options:",
        "      show_root_heading: false",
        "      show_root_toc_entry: false",
        "",
    ]
    return "\n".join(lines)
