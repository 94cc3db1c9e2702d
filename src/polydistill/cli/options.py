"""Arguments and options of several commands, the settings that they read, and the list of commands in `--help`."""

from __future__ import annotations

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

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write only the commands: the only option is `--help`."""
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write the list of commands, in the order in which they were added."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            heading = str(getattr(command, "rich_help_panel", None) or "Commands")
            line = command.get_short_help_str(limit=formatter.width)
            groups.setdefault(heading, []).append((name, line))
        width = max(map(len, self.commands))
        for heading, rows in groups.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), line) for name, line in rows])
