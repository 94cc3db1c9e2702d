"""`polydistill params`: show the effective settings, or write the file of them that DVC compares."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polydistill.cli.console import plain, print_rich, report_errors, show
from polydistill.cli.options import ROOT, AsJson

if TYPE_CHECKING:
    from rich.table import Table

    from polydistill.config.describe import Setting

settings = typer.Typer()


@settings.command(epilog="Example: polydistill params text")
def params(
    modality: Annotated[
        str | None, typer.Argument(help="A block of params.yaml: text [all of them].")
    ] = None,
    *,
    every: Annotated[
        bool, typer.Option("--all", help="Also the rows of tasks, teachers and quick runs.")
    ] = False,
    write: Annotated[
        bool,
        typer.Option("--write", help="Only bring params.resolved.yaml up to date."),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Fail if params.resolved.yaml is out of date.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show every setting with its default, bound and unit."""
    with report_errors():
        if write:
            write_effective(ROOT)
        elif check:
            check_effective(ROOT)
        else:
            show_settings(ROOT, modality, every=every, as_json=as_json)


def write_effective(root: Path) -> None:
    """Write `params.resolved.yaml`.

    Raises:
        StageError: DVC runs this command, and its list of stages lacks teachers that are newly enabled.
    """
    from polydistill.config.params import RESOLVED_FILE, load_params, write_resolved
    from polydistill.errors import StageError
    from polydistill.integrations.dvc.stage_inputs import STAGE_VARIABLE

    new = write_resolved(root, load_params(root))
    if new and os.environ.get(STAGE_VARIABLE):
        raise StageError(
            f"Newly enabled: {', '.join(new)}. DVC read its list of stages before {RESOLVED_FILE} contained "
            "them: run the same command again."
        )


def check_effective(root: Path) -> None:
    """Raise if `params.resolved.yaml` does not match `params.yaml` and the defaults.

    Raises:
        ParamsError: The file is out of date.
    """
    from polydistill.config.params import RESOLVED_FILE, is_resolved, load_params
    from polydistill.errors import ParamsError

    if not is_resolved(root, load_params(root)):
        raise ParamsError(
            f"{RESOLVED_FILE} is out of date: run `polydistill params --write` and commit it."
        )


def show_settings(root: Path, modality: str | None, *, every: bool, as_json: bool) -> None:
    """Print the settings of one or all modalities."""
    from polydistill.config.describe import describe
    from polydistill.config.params import load_params, read_tree
    from polydistill.stages.resolve import option_defaults

    effective, own = load_params(root), read_tree(root)
    names = effective.modalities if modality is None else (modality,)
    found = {name: describe(effective, own, name, option_defaults) for name in names}
    if as_json:
        rows = {one.key: plain(one) for some in found.values() for one in some}
        show(
            {key: {k: v for k, v in row.items() if k != "key"} for key, row in rows.items()},
            as_json=True,
        )
        return
    for name, some in found.items():
        shown = [one for one in some if every or not _is_row(one)]
        print_rich(_table(name, shown, len(some) - len(shown)))


def _is_row(setting: Setting) -> bool:
    """Return whether a setting belongs to a task, a teacher or quick runs, which `params.yaml` lists in full."""
    block = setting.key.split(".")[1:2]
    return block in (["tasks"], ["teachers"], ["quick"]) and not setting.key.endswith(".enabled")


def _table(modality: str, rows: Sequence[Setting], hidden: int) -> Table:
    from rich import box
    from rich.table import Column, Table

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
            f"[bold]{value}[/bold]" if one.is_set else value,
            "=" if value == default else default,
            one.bound,
            one.unit,
            one.description,
        )
    more = f" {hidden} values of tasks, teachers and quick runs: --all." if hidden else ""
    table.caption = f"Bold: set in params.yaml. =: the default.{more}"
    return table


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
