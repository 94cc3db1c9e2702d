"""Build this repository's data, and fetch third-party benchmark tasks: `python -m recipes --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polydistill.cli.console import ProgressLines, show
from polydistill.cli.options import AsJson, CommandGroup, Modality
from polydistill.config import environment

ROOT = Path()
app = typer.Typer(
    cls=CommandGroup,
    help="Build this repository's data, and fetch third-party benchmark tasks.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(epilog="Example: python -m recipes build text")
def build(
    modality: Annotated[
        str | None,
        typer.Argument(help="The recipe to build; by default, those of all `modalities`."),
    ] = None,
    *,
    refetch: Annotated[
        bool,
        typer.Option(
            help="Read the current version of changing sources instead of the frozen copies."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build data/ from public packages. Afterwards, `dvc add data` versions it."""
    from polydistill.config.params import load_params
    from recipes.build import build_data

    names = load_params(ROOT).modalities if modality is None else (modality,)
    for name in names:
        progress = ProgressLines("data")
        show(build_data(ROOT, name, refetch=refetch, progress=progress), as_json=as_json)


@app.command(epilog="Example: python -m recipes fetch text")
def fetch(modality: Modality, *, as_json: AsJson = False) -> None:
    """Fetch third-party benchmark tasks that may not be redistributed."""
    from polydistill.integrations.dvc.stage_inputs import stage_params, steady_inputs

    with steady_inputs(ROOT):
        from recipes.fetch import fetch_data

        show(fetch_data(ROOT, stage_params(ROOT), modality), as_json=as_json)


if __name__ == "__main__":
    environment.prepare()
    environment.exit_on_sigterm()
    app()
