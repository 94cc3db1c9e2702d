"""`polydistill init`: create a project from the user's own data."""

from pathlib import Path
from typing import Annotated

import typer

from polydistill.cli.console import plain, show
from polydistill.cli.options import AsJson

commands = typer.Typer()
NO_TASK = (
    "There is no task, so `polydistill run` cannot score and promote a student. "
    "Add a table with labels under `tasks` in params.yaml (docs/guides/your-own-data.md), or only train a student:"
)


@commands.command(epilog="Example: polydistill init my-project --corpus reviews.csv")
def init(  # noqa: PLR0913, PLR0917  each argument is an option of the command
    folder: Annotated[Path, typer.Argument(help="The project folder to create.")],
    corpus: Annotated[
        Path,
        typer.Option(
            help="Examples: CSV, TSV, JSONL, Parquet, text or images; a folder or glob too."
        ),
    ],
    task: Annotated[
        Path | None,
        typer.Option(help="Labelled examples [a part of the corpus, if it has labels]."),
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column of the examples [guessed].")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the labels [guessed].")] = None,
    modality: Annotated[
        str | None, typer.Option(help="text, vision or molecules [guessed].")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Kind of task: classification, regression, clustering, sts [guessed]."),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Create a project from your own data."""
    from typing import cast, get_args

    from polydistill.config.data import TaskKind
    from polydistill.data.intake import Named
    from polydistill.errors import UnknownNameError
    from polydistill.integrations.new_project import create_project

    if kind is not None and kind not in get_args(TaskKind):
        raise UnknownNameError("task kind", kind, get_args(TaskKind))
    named = Named(column, label, cast("TaskKind | None", kind))
    made = create_project(folder, corpus, task, modality, named)
    fields = {key: value for key, value in plain(made).items() if value}
    notes = fields.pop("notes", [])
    show(made, as_json=as_json, human=fields)
    if as_json:
        return
    for note in notes:
        typer.echo(f"  {note}")
    if made.task is None:
        typer.echo(NO_TASK)
        typer.echo(f"\n  cd {folder} && dvc repro distill@{made.modality}")
    else:
        typer.echo(f"Next:\n\n  cd {folder}\n  polydistill run")
