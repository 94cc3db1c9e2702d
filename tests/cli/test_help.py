from __future__ import annotations

from typer.main import get_command
from typer.testing import CliRunner

from experiments.__main__ import experiments
from polydistill.cli.app import GROUPS, app


def test_all_commands_fit_one_screen_in_their_groups() -> None:
    result = CliRunner().invoke(app, ["--help"], terminal_width=80)

    lines = result.output.splitlines()
    assert len(lines) <= 42
    for heading in GROUPS:
        assert f"{heading}:" in lines
    for name in get_command(app).commands:  # type: ignore[attr-defined]
        assert sum(line.split()[:1] == [name] for line in lines) == 1
    assert not [line for line in lines[1:] if "..." in line]


def test_commands_without_a_heading_are_listed_as_commands() -> None:
    result = CliRunner().invoke(experiments, ["--help"], terminal_width=80)

    assert "\nCommands:\n  methods " in result.output
