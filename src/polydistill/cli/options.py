"""Arguments and options that commands share, access to the settings, and the list of commands in `--help`."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from polydistill.cli.console import report_errors

if TYPE_CHECKING:
    from polydistill.config.params import Params

ROOT = Path()
Modality = Annotated[str, typer.Argument(help="A block of params.yaml: text.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Verify = Annotated[
    bool, typer.Option("--verify", help="Read all stored files again to check them.")
]
Examples = Annotated[Path, typer.Argument(help="A text file, one example (or its path) per line.")]
Version = Annotated[
    str,
    typer.Argument(help="A registered model, or a folder with student/ and heads/: artifacts/text"),
]


def project_params(root: Path = ROOT, *, modality: str | None = None) -> Params:
    """Return the settings of a project.

    Raises:
        ParamsError: `params.yaml` is missing or invalid, or has no block `modality`.
    """
    from polydistill.config.params import load_params

    params = load_params(root)
    if modality is not None:
        params.modality(modality)
    return params


class CommandGroup(TyperGroup):
    """Reports errors as short messages, and lists commands under the headings of their groups, one line each."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with report_errors():
            return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write only the commands, in the order in which they were added; `--help` is the only option."""
        width = max(map(len, self.commands))
        commands: list[Any] = list(self.commands.values())
        for heading, members in groupby(commands, attrgetter("rich_help_panel")):
            with formatter.section(heading if isinstance(heading, str) else "Commands"):
                lines = ((one.name, one.get_short_help_str(formatter.width)) for one in members)
                formatter.write_dl([(name.ljust(width), line) for name, line in lines])
