"""Every command line in README and the documentation is one that exists: its name, its options, its arguments."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

import experiments.__main__
import flows.deployments
import recipes.__main__
from polydistill.cli.app import app
from tests.docs.blocks import ROOT, Block, blocks, inline_code

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
MODULES = {"experiments": experiments.__main__.experiments, "recipes": recipes.__main__.app}
OTHER_PROGRAMS = {
    ".", "cd", "cp", "dvc", "export", "git", "head", "mlflow", "own/bin/pip", "pip", "pre-commit", "prefect", "pytest",
    "sed", "sha256sum", "source", "tr",
}  # fmt: skip
MODULES_WITHOUT_A_COMMAND_LINE = {"venv", "services", "bench"}


@cache
def programs() -> dict[str, Any]:
    """Return the command lines of this repository, by what a line begins with."""
    deployments = typer.Typer()
    deployments.command()(flows.deployments.serve)
    named = {f"python -m {name}": one for name, one in MODULES.items()}
    named |= {"polydistill": app, "python -m flows.deployments": deployments}
    return {name: typer.main.get_command(one) for name, one in named.items()}


@cache
def targets() -> set[str]:
    """Return the targets of the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([\w.-]+):", text, re.MULTILINE))


def lines_of(block: Block) -> list[list[str]]:
    """Return the commands of a block as words, without comments and prompts."""
    lines = []
    for line in block.code.replace("\\\n", " ").splitlines():
        if block.language == "console" and not line.startswith("$ "):
            continue  # what a command prints
        words = shlex.split(line.removeprefix("$ "), comments=True)
        joined = [at for at, word in enumerate(words) if word in {"&&", "|"}]
        starts, ends = [0, *(at + 1 for at in joined)], [*joined, len(words)]
        lines += [words[start:end] for start, end in zip(starts, ends, strict=True) if start < end]
    return lines


def check_line(words: list[str], *, is_complete: bool) -> None:
    """Fail unless a line calls something that exists, with options that it has.

    Raises:
        AssertionError: It does not; the message names the word.
    """
    words = [words[0].removeprefix(".venv/bin/"), *words[1:]]
    if words[0] == "make":
        for word in words[1:]:
            assert "=" in word or word in targets(), f"no target {word!r} in the Makefile"
        return
    n_words = 3 if words[:2] == ["python", "-m"] else 1
    name = " ".join(words[:n_words])
    if name in programs():
        check_arguments(name, programs()[name], words[n_words:], is_complete=is_complete)
    elif n_words == 3:
        assert words[2] in MODULES_WITHOUT_A_COMMAND_LINE, f"no module {words[2]!r}"
    else:
        assert words[0] in OTHER_PROGRAMS, f"an unknown program {words[0]!r}"


def check_arguments(name: str, command: Any, words: list[str], *, is_complete: bool) -> None:
    """Fail unless `words` are arguments of a command or of one in its group.

    Raises:
        AssertionError: There is no such command or option, or an argument is missing.
    """
    context = typer.Context(command, info_name=name)
    while hasattr(command, "list_commands") and words and words[0][0] not in "-<":
        known = command.list_commands(context)
        assert words[0] in known, f"`{name}` has no command {words[0]!r}, but {', '.join(known)}"
        command, words, name = (
            command.get_command(context, words[0]),
            words[1:],
            f"{name} {words[0]}",
        )
    if is_complete and not hasattr(command, "list_commands"):
        try:
            command.make_context(name, list(words))
        except USAGE_ERROR as error:
            raise AssertionError(f"`{name}`: {error}") from error
        return
    options = {
        option for one in command.get_params(context) for option in one.opts + one.secondary_opts
    }
    for word in words:
        if word.startswith("-"):
            assert word.split("=")[0] in options, f"`{name}` has no option {word!r}"


SHELL = blocks("bash", "console")
COMMANDS = [
    one
    for one in inline_code()
    if re.match(r"(polydistill|make|python -m (experiments|recipes|flows\S*)) \S", one.code)
]


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_a_block_of_commands_calls_what_exists(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    for words in lines_of(block):
        check_line(words, is_complete=True)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: f"{one} {one.code}")
def test_a_command_in_a_sentence_exists(command: Block) -> None:
    words = shlex.split(command.code.replace("…", "x"))

    check_line(words, is_complete=False)


@pytest.mark.parametrize(
    "line",
    [
        "polydistill promot text",
        "polydistill promote text --dry",
        "polydistill promote",
        "make runn",
        "python -m experiments method text",
        "python -m flows.deployments text --crown x",
        "polidistill run",
    ],
)
def test_a_line_that_calls_what_does_not_exist_is_found(line: str) -> None:
    with pytest.raises(AssertionError):
        check_line(shlex.split(line), is_complete=True)
