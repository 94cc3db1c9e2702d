"""Console output of commands: progress lines, errors and reports."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import typer

from polydistill.errors import DiskSpaceError, PolydistillError
from polydistill.project.files import is_full_disk

INTERVAL_S = 3.0
PIPED_WIDTH = 140


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
        if done < self._done.get(what, done):  # the operation starts again, as in the next trial
            del self._started[what]
        self._done[what] = done
        started, before = self._started.setdefault(
            what, (now, done)
        )  # a resumed stage starts above 0
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


def show(report: object, *, as_json: bool) -> None:
    """Print a report: its fields as an aligned list, or as one JSON object."""
    if as_json:
        typer.echo(json.dumps(plain(report), sort_keys=True))
        return
    fields = plain(report)
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        rows = _rows(value)
        for row, label in zip(rows, [name.replace("_", " "), *[""] * len(rows)], strict=False):
            typer.echo(f"  {label:<{width}}  {_text(row)}")


def print_rich(table: object) -> None:
    """Print a table of rich; without a terminal it is `PIPED_WIDTH` characters wide, so that no column is cut."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(table)


def _rows(value: object) -> list[object]:
    """Return the parts of a value that are printed on separate lines: the rows of a table, or the value itself."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return list(value)
    if isinstance(value, dict) and value and all(isinstance(row, dict) for row in value.values()):
        width = max(map(len, value))
        return [f"{name:<{width}}  {_text(row)}" for name, row in value.items()]
    return [value]


def plain(report: object) -> dict[str, Any]:
    """Return a dataclass or a mapping as a mapping of plain JSON values."""
    if is_dataclass(report) and not isinstance(report, type):
        fields = asdict(report)
    elif isinstance(report, Mapping):
        fields = dict(report)
    else:
        fields = {"result": report}
    result: dict[str, Any] = json.loads(json.dumps(fields, default=str))
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
    """Print the errors of polydistill as short messages and exit with their codes; other errors keep their trace."""
    try:
        yield
    except PolydistillError as error:
        _print_error(error)
        raise typer.Exit(error.exit_code) from error
    except Exception as error:
        if not is_full_disk(error):
            raise
        full = DiskSpaceError(
            f"A disk is full: free disk space and run again. {_first_line(error)}"
        )
        _print_error(full)
        raise typer.Exit(full.exit_code) from error


def _print_error(error: PolydistillError) -> None:
    typer.secho(f"{type(error).__name__}: {error}", err=True, fg=typer.colors.RED)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def relative(path: Path) -> str:
    """Return a path relative to the current folder, if it is inside this folder."""
    here = Path.cwd()
    return (
        str(path.resolve().relative_to(here)) if path.resolve().is_relative_to(here) else str(path)
    )


@contextmanager
def stage_errors(root: Path = Path()) -> Iterator[None]:
    """Report errors as `report_errors` does, and raise if a stage's inputs change while it runs."""
    with report_errors():
        from polydistill.integrations.dvc.stage_inputs import steady_inputs

        with steady_inputs(root):
            yield
