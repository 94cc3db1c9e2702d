"""The program `polydistill`, with all groups of commands."""

import typer

from polydistill.cli import look, params, pipeline, registry, use
from polydistill.cli.options import CommandGroup
from polydistill.config import environment

EPILOG = "Exit codes: 2 usage · 3 data · 4 store · 5 service · 6 gate · 7 drift"
GROUPS = {
    "Run the pipeline": (pipeline.commands, params.settings),
    "The registry": (registry.commands,),
    "Look at results": (look.commands,),
    "Use a student": (use.commands,),
}
app = typer.Typer(
    cls=CommandGroup,
    help="Distil many pretrained embedding models into one small student.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)
for heading, members in GROUPS.items():
    for group in members:
        for command in group.registered_commands:
            command.rich_help_panel = heading
        app.registered_commands += group.registered_commands


def main() -> None:
    """Run the command line."""
    environment.prepare()
    environment.exit_on_sigterm()
    app()
