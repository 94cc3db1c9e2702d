"""Every argument and option of every command ends in a short error of ours, whatever text it is given."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from polydistill.cli.app import app

ROOT = Path(__file__).parents[2]
ODD = ("x" * 300, "a\0b", "", "\udcff")
MAX_MESSAGE = 2000
COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]


def cases() -> list[tuple[str, str]]:
    """Return each command with each of its parameters that take a value."""
    return [
        (name, parameter.name or "")
        for name, command in COMMANDS.items()
        for parameter in command.params
        if parameter.name != "help" and not getattr(parameter, "is_flag", False)
    ]


def words(name: str, odd: str, value: str) -> list[str]:
    """Return the arguments of a command with one odd value, and a likely value for the rest that it needs."""
    found = []
    for parameter in COMMANDS[name].params:
        is_odd = parameter.name == odd
        given = value if is_odd else "text"
        if parameter.param_type_name == "argument":
            found.append(given)
        elif is_odd or parameter.required:
            found += [parameter.opts[0], given]
    return found


@pytest.mark.parametrize(("name", "odd"), cases())
def test_an_odd_value_ends_in_a_short_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, odd: str
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    for value in ODD:
        result = CliRunner().invoke(app, [name, *words(name, odd, value)])

        shown = f"{name} {odd}={value[:20]!r}: {result.exit_code} {result.output[-400:]}"
        assert result.exit_code in range(1, 8), shown
        assert isinstance(result.exception, SystemExit), shown
        assert "Traceback" not in result.output, shown
        assert len(result.output) <= MAX_MESSAGE, shown
