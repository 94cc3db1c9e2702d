"""Commands of the registry: register a student, move aliases, show the history."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Annotated

import typer

from polydistill.cli.console import plain, relative, show
from polydistill.cli.options import ROOT, AsJson, Modality, project_params

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from polydistill.registry.ledger import Entry

PREFIX = "student-"
commands = typer.Typer()


@commands.command(epilog="Example: polydistill publish text")
def publish(modality: Modality, *, as_json: AsJson = False) -> None:
    """Register the student as challenger; once per student."""
    from polydistill.integrations.mlflow.publish import publish as publish_student

    published = publish_student(ROOT, project_params(), modality)
    show(published, as_json=as_json)
    if not published.reproducible:
        reasons = "\n  ".join([*published.reasons, published.detail]).rstrip()
        warning = f"Version {published.version} cannot be reproduced:\n  {reasons}"
        typer.secho(warning, err=True, fg=typer.colors.YELLOW)


@commands.command(epilog="Example: polydistill promote text --dry-run")
def promote(
    modality: Modality,
    *,
    dry_run: Annotated[bool, typer.Option(help="Report the verdict, change nothing.")] = False,
    force: Annotated[
        bool, typer.Option(help="Promote even if the gate refuses; needs --reason.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="The reason, for the ledger.")] = None,
    expect: Annotated[
        int | None, typer.Option(min=1, help="Stop if the challenger is another version.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the challenger champion; exit 6 if the gate refuses."""
    from polydistill.errors import GateRefusedError, ParamsError
    from polydistill.integrations.mlflow.promotion import promote as promote_challenger
    from polydistill.report.gate import render_verdict

    if reason is not None and not force:
        raise ParamsError("`--reason` needs `--force`: the gate gives its own reasons.")
    why = (reason or "") if force else None
    verdict = promote_challenger(
        ROOT, project_params(), modality, dry_run=dry_run, force=why, expect=expect
    )
    show(verdict, as_json=as_json, human=render_verdict(plain(verdict)))
    if verdict.refused:
        raise GateRefusedError(verdict.reason)


@commands.command(epilog='Example: polydistill reject text --by ada --reason "too slow"')
def reject(
    modality: Modality,
    *,
    by: Annotated[str, typer.Option(help="The person who refuses it.")],
    reason: Annotated[str, typer.Option(help="The reason, for the ledger.")],
    as_json: AsJson = False,
) -> None:
    """Refuse the challenger, in the name of a person."""
    from polydistill.integrations.mlflow.promotion import reject as reject_challenger

    verdict = reject_challenger(ROOT, project_params(), modality, by=by, reason=reason)
    show(verdict, as_json=as_json)


@commands.command(epilog="Example: polydistill rollback text --reason 'slow on long texts'")
def rollback(
    modality: Modality,
    *,
    to: Annotated[
        int | None, typer.Option(min=1, help="The version [the previous champion].")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="The reason, for the ledger.")] = None,
    force: Annotated[bool, typer.Option(help="Allow a version that was never champion.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make an earlier champion the champion again."""
    from polydistill.integrations.mlflow.promotion import rollback as go_back

    project_params(modality=modality)  # raises for an unknown modality
    show(go_back(ROOT, modality, to, reason=reason, force=force), as_json=as_json)


@commands.command(epilog="Example: polydistill history student-text --at 2026-01-31")
def history(
    model: Annotated[str, typer.Argument(help="A registered model, or its block: student-text.")],
    *,
    at: Annotated[
        str | None,
        typer.Option(help="Show the aliases at the end of this day, or at this time (UTC)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List every change of a model's aliases: when, who, why."""
    from polydistill.integrations.mlflow.promotion import history as read_history
    from polydistill.registry.ledger import replay

    modality = model.removeprefix(PREFIX)
    project_params(modality=modality)  # raises for an unknown modality
    when = None if at is None else moment(at)
    found = read_history(ROOT, modality, when)
    human: dict[str, object] = {"model": f"{PREFIX}{modality}", "aliases": replay(found)}
    report = {**human, "at": when and when.isoformat()}
    if when is not None:
        human |= {"at": when, "entry": found[-1].number if found else None}
    elif not as_json:
        show({}, as_json=False, human=_table(found))
    report["entries"] = [entry.model_dump(mode="json") for entry in found]
    show(report, as_json=as_json, human=human)


@commands.command(epilog="Example: polydistill dump text")
def dump(modality: Modality, *, as_json: AsJson = False) -> None:
    """Write the registry as sorted JSON to mlruns/exports/."""
    from polydistill.integrations.mlflow.promotion import dump as dump_registry

    show({"files": [relative(path) for path in dump_registry(ROOT, modality)]}, as_json=as_json)


def moment(text: str) -> datetime:
    """Return a time in UTC; a day means the end of the day, and a time without a zone is in UTC.

    Raises:
        ParamsError: `text` is neither a day nor a time.

    Examples:
        >>> print(moment("2026-01-31"))
        2026-01-31 23:59:59.999999+00:00
        >>> print(moment("2026-01-31T12:00+01:00"))
        2026-01-31 11:00:00+00:00
    """
    from polydistill.errors import ParamsError

    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ParamsError(
            f"--at must be a day or a time, as in 2026-01-31 or 2026-01-31T12:00, got {text!r}."
        ) from error
    if len(text) <= len("2026-01-31"):
        found = datetime.combine(found, time.max)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _table(entries: Sequence[Entry]) -> Table:
    from rich.table import Column, Table

    from polydistill.registry.ledger import describe_moves

    table = Table(
        Column("", justify="right"),
        Column("when (UTC)", no_wrap=True),
        "who",
        Column("action", no_wrap=True),
        "moves",
        "verdict",
        Column("reason", ratio=1),
        box=None,
        pad_edge=False,
    )
    for entry in entries:
        when = entry.moment.strftime("%Y-%m-%d %H:%M")
        cells = (entry.action, describe_moves(entry.moves), entry.verdict or "", entry.reason)
        table.add_row(str(entry.number), when, entry.who, *cells)
    return table
