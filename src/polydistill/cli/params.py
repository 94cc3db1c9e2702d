"""`polydistill params`: show the effective settings, or write them to the file that DVC compares."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from polydistill.cli.console import plain, show
from polydistill.cli.options import ROOT, AsJson, project_params

if TYPE_CHECKING:
    from rich.table import Table

    from polydistill.config.describe import Setting
    from polydistill.config.params import Params

settings = typer.Typer()


@settings.command(epilog="Example: polydistill params text")
def params(
    modality: Annotated[
        str | None, typer.Argument(help="A block of params.yaml, such as text. Default: all.")
    ] = None,
    *,
    every: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Also show settings of tasks, teachers and quick runs; --json always does.",
        ),
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Update params.resolved.yaml, and show nothing.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Fail if params.resolved.yaml is out of date.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the effective settings, defaults, bounds and units."""
    from polydistill.config.params import RESOLVED_FILE, is_resolved
    from polydistill.errors import ParamsError

    effective = project_params()
    if write:
        _write(effective)
    elif not check:
        _show(effective, modality, every=every, as_json=as_json)
    elif not is_resolved(ROOT, effective):
        raise ParamsError(
            f"{RESOLVED_FILE} is out of date: run `polydistill params --write` and commit it."
        )


def _write(params: Params) -> None:
    from polydistill.config.params import RESOLVED_FILE, write_resolved
    from polydistill.errors import StageError
    from polydistill.integrations.dvc.stage_inputs import STAGE_VARIABLE

    new = write_resolved(ROOT, params)
    if new and os.environ.get(STAGE_VARIABLE):
        raise StageError(
            f"Newly enabled: {', '.join(new)}. DVC read its list of stages before {RESOLVED_FILE} contained "
            "them: run the same command again."
        )


def _show(effective: Params, modality: str | None, *, every: bool, as_json: bool) -> None:
    from polydistill.config.describe import describe
    from polydistill.config.params import read_tree
    from polydistill.stages.resolve import option_defaults

    own = read_tree(ROOT)
    names = effective.modalities if modality is None else (modality,)
    found = {name: describe(effective, own, name, option_defaults) for name in names}
    if as_json:
        rows = {row.pop("key"): row for row in map(plain, chain(*found.values()))}
        show(rows, as_json=True)
        return
    for name, some in found.items():
        shown = [one for one in some if every or not _is_row(one)]
        show({}, as_json=False, human=_table(name, shown, len(some) - len(shown)))


def _is_row(setting: Setting) -> bool:
    """Return whether only `--all` shows the setting: one of a task, teacher, rival or quick runs, but not `enabled`."""
    block = setting.key.split(".")[1:2]
    return block in (["tasks"], ["teachers"], ["rivals"], ["quick"]) and not setting.key.endswith(
        ".enabled"
    )


def _table(modality: str, rows: Sequence[Setting], hidden: int) -> Table:
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    names = ("value", "default", "allowed", "unit", "description")
    table = Table(Column("setting", no_wrap=True), *names, title=modality, box=box.SIMPLE_HEAD)
    part = ""
    for one in rows:
        key = one.key.removeprefix(f"{modality}.")
        block = key.rpartition(".")[0].partition(".")[0]
        if part != block:
            table.add_section()
        part = block
        value, default = _text(one.value), _text(one.default)
        table.add_row(
            key,
            Text(value, style="bold" if one.is_set else ""),
            "=" if value == default else default,
            one.bound,
            one.unit,
            one.description,
        )
    more = (
        f" --all shows {hidden} more, of tasks, teachers, rivals and quick runs." if hidden else ""
    )
    table.caption = f"Bold: set in params.yaml. =: the same as the value.{more}"
    return table


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
