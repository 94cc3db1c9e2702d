"""Console output of commands: progress lines, errors and reports."""

import errno
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from pydantic import ConfigDict, TypeAdapter

from polydistill.errors import (
    DiskSpaceError,
    InfrastructureError,
    PolydistillError,
    StoreError,
    short,
)
from polydistill.project.files import is_full_disk

INTERVAL_S = 3.0
PIPED_WIDTH = 160
PLAIN = TypeAdapter[Any](Any, config=ConfigDict(ser_json_inf_nan="constants"))


ADVICE = {
    errno.EACCES: "Give this user access to it, or choose another path.",
    errno.EPERM: "Give this user access to it, or choose another path.",
    errno.EROFS: "Its file system is read-only: choose another path.",
    errno.EIO: "The disk reports a fault: check it, and restore the file.",
    errno.EMFILE: "Too many files are open: raise the limit with `ulimit -n 4096`.",
    errno.ENFILE: "Too many files are open: close other programs.",
    errno.EISDIR: "A file is expected there: give the path of a file, or move the folder away.",
    errno.ENOTDIR: "A part of the path is a file: give a path in a folder.",
    errno.ELOOP: "It is a link to itself: remove the link.",
    errno.ENOENT: "Check the path, and that the stage that writes it has run.",
    errno.ENAMETOOLONG: "Choose a shorter path.",
    errno.EDQUOT: "The disk quota is used up: free disk space and run again.",
}
"""Advice by the number of an error of the operating system."""


class ProgressLines:
    """Progress as plain lines, at most one per operation every few seconds, so that logs remain readable."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._started: dict[str, tuple[float, int]] = {}
        self._done: dict[str, int] = {}
        self._shown: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int, **figures: float) -> None:
        """See `contracts.Progress`."""
        now = time.monotonic()
        if done < self._done.get(
            what, done
        ):  # the operation has restarted, for example in the next trial
            del self._started[what]
        self._done[what] = done
        # the count of a resumed stage starts above 0
        started, before = self._started.setdefault(what, (now, done))
        if done < total and now - self._shown.get(what, float("-inf")) < INTERVAL_S:
            return
        self._shown[what] = now
        elapsed = now - started
        parts = [f"{self._stage:<9}", f"{what:<28}", f"{done:>7,}/{total:,}"]
        if elapsed > 0 and done > before:
            rate = (done - before) / elapsed
            parts.append(f"{rate:>8,.{0 if rate >= 10 else 1}f}/s")
            if done < total:
                parts.append(f"ETA {_clock((total - done) / rate)}")
        parts += [f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items()]
        typer.echo("  ".join(parts))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def show(report: object, *, as_json: bool, human: object = None) -> None:
    """Print a report as one JSON object, or for people.

    Args:
        report: A dataclass or a mapping.
        as_json: Whether to print JSON.
        human: A rich table or a mapping that is printed for people instead of `report`. The fields of a mapping
            are printed as an aligned list.
    """
    if as_json:
        typer.echo(json.dumps(plain(report), sort_keys=True))
        return
    if hasattr(human, "__rich_console__"):
        _print_rich(human)
        return
    fields = plain(report if human is None else human)
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        rows = _rows(value)
        for row, label in zip(rows, [name.replace("_", " "), *[""] * len(rows)], strict=False):
            typer.echo(f"  {label:<{width}}  {_text(row)}")


def _print_rich(table: object) -> None:
    """Print a rich table; without a terminal it is `PIPED_WIDTH` characters wide, so that no column is cut."""
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(table)


def _rows(value: object) -> list[object]:
    """Return the parts of a value that are printed on separate lines: the rows of a table, or the value itself."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return list(value)
    if (
        isinstance(value, dict)
        and value
        and all(isinstance(one, dict | str) for one in value.values())
    ):
        width = max(map(len, value))
        return [f"{name:<{width}}  {_text(row)}" for name, row in value.items()]
    return [value]


def plain(report: object) -> dict[str, Any]:
    """Return a dataclass or a mapping as a mapping of plain JSON values."""
    result: dict[str, Any] = PLAIN.dump_python(report, mode="json", fallback=str)
    return result


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or "none"
    return "none" if value is None else str(value)


@contextmanager
def report_errors() -> Iterator[None]:
    """Print the errors of polydistill as short messages and exit with their codes; keep the traceback of others."""
    try:
        yield
    except Exception as error:
        known = error if isinstance(error, PolydistillError) else _translated(error)
        if known is None:
            raise
        typer.secho(f"{type(known).__name__}: {known}", err=True, fg=typer.colors.RED)
        raise typer.Exit(known.exit_code) from error


def _translated(error: Exception) -> PolydistillError | None:
    """Return an error of the operating system as an error of ours; None for an error of the program."""
    first_line = short(next(iter(str(error).splitlines()), type(error).__name__), 300)
    if is_full_disk(error):
        return DiskSpaceError(f"A disk is full: free disk space and run again. {first_line}")
    if isinstance(error, BrokenPipeError) or not isinstance(error, OSError) or not error.errno:
        return None
    if isinstance(error, ConnectionError | TimeoutError):
        return InfrastructureError(f"{first_line}. Check that the service runs, and run again.")
    where = f"{error.filename}: " if error.filename else ""
    advice = ADVICE.get(error.errno, "Check the path, its folder and the disk.")
    return StoreError(f"{where}{error.strerror or first_line}. {advice}")


def relative(path: Path) -> str:
    """Return a path relative to the current folder if it is inside that folder."""
    here, full = Path.cwd(), path.resolve()
    return str(full.relative_to(here) if full.is_relative_to(here) else path)
