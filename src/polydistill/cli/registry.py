"""Commands of the registry: register, promote, show the history, reproduce, remove unused files."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Annotated

import typer

from polydistill.cli.console import plain, relative, show
from polydistill.cli.options import ROOT, AsJson, Modality, project_params

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from polydistill.integrations.dvc.stages import StageState
    from polydistill.integrations.reproduction import Reproduction
    from polydistill.registry.ledger import Entry

PREFIX = "student-"
commands = typer.Typer()


@commands.command(epilog="Example: polydistill publish text")
def publish(modality: Modality, *, as_json: AsJson = False) -> None:
    """Register the student as challenger, if it is new."""
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
    model: Annotated[
        str, typer.Argument(help="Modality or registered model: text or student-text.")
    ],
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
        human |= {"at": str(when), "entry": found[-1].number if found else None}
    elif not as_json:
        show({}, as_json=False, human=_table(found))
    report["entries"] = [entry.model_dump(mode="json") for entry in found]
    show(report, as_json=as_json, human=human)


@commands.command(epilog="Example: polydistill dump text")
def dump(modality: Modality, *, as_json: AsJson = False) -> None:
    """Write the registry as sorted JSON to mlruns/exports/."""
    from polydistill.integrations.mlflow.promotion import dump as dump_registry

    show({"files": [relative(path) for path in dump_registry(ROOT, modality)]}, as_json=as_json)


@commands.command(epilog="Example: polydistill reproduce models:/student-text@champion")
def reproduce(
    model: Annotated[str, typer.Argument(help="A version: models:/student-text@champion or …/3.")],
    *,
    reuse_embeddings: Annotated[
        bool, typer.Option(help="Use embeddings in DVC's cache: faster, but not recomputed.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Allowed difference of a score or of a held-out loss.")
    ] = 0.01,
    exact: Annotated[bool, typer.Option(help="Exit 1 unless the bytes are identical.")] = False,
    keep: Annotated[
        bool, typer.Option(help="Keep the folder of the rerun, also on success.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild a version and compare it; exit 1 if it differs."""
    from polydistill.integrations.reproduction import reproduce_version

    report = reproduce_version(
        ROOT,
        model,
        reuse_embeddings=reuse_embeddings,
        tolerance=tolerance,
        keep=keep,
        listen=_print_stage,
    )
    show(report, as_json=as_json, human=_summary(report))
    outcome = report.comparison.outcome
    if outcome == "different" or (exact and outcome != "identical bytes"):
        raise typer.Exit(1)


@commands.command(epilog="Example: polydistill gc text --yes")
def gc(
    modality: Annotated[str | None, typer.Argument(help="A block of params.yaml [all].")] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed.")] = False,
    keep_versions: Annotated[
        int, typer.Option(min=0, help="Keep the newest N versions in any case.")
    ] = 3,
    older_than_h: Annotated[
        float, typer.Option(min=0, help="Keep files that were written in the last N hours.")
    ] = 24.0,
    as_json: AsJson = False,
) -> None:
    """List unused files; --yes removes them."""
    from polydistill.integrations.mlflow.garbage import sweep

    params = project_params(modality=modality)
    modalities = list(params.modalities) if modality is None else [modality]
    report = sweep(ROOT, modalities, (older_than_h, keep_versions), remove=yes)
    if as_json:
        show(report, as_json=True)
        return
    for one in report.garbage:
        typer.echo(f"{one.kind:<11} {megabytes(one.size_bytes):>11}  {one.what}  ({one.why})")
    verb = "removed" if yes else "can be removed with --yes"
    typer.echo(f"{len(report.garbage)} items, {megabytes(report.size_bytes)}, {verb}.")


def moment(text: str) -> datetime:
    """Return a time in UTC; a date means the end of that day, and a time without a zone is in UTC.

    Raises:
        ParamsError: `text` is neither a date nor a time.

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


def _print_stage(state: StageState) -> None:
    typer.echo(f"{state.stage:<28}  {state.state:<9}  {state.seconds:.0f} s", err=True)


def _summary(report: Reproduction) -> dict[str, object]:
    comparison = report.comparison
    words = {True: "identical bytes", False: "different bytes"}
    differences = plain(comparison)["differences"]
    table = {
        "version": f"{report.model} {report.version}",
        "commit": report.commit,
        "outcome": comparison.outcome,
        "student": words[comparison.student_identical],
        "undistilled": words[comparison.undistilled_identical],
        "stages": {
            state.stage: {"": state.state, "with": words[report.same_outputs[state.stage]]}
            for state in report.stages
        },
        "metrics": f"{comparison.n_metrics}, of which {len(differences)} differ",
        "differences": {row.pop("metric"): row for row in differences},
        "other packages": report.packages,
        "seconds": report.seconds,
    }
    return table | ({"kept in": report.place} if report.place else {})


def megabytes(size_bytes: int) -> str:
    """Return a number of bytes as text, in megabytes.

    Examples:
        >>> megabytes(1_250_000)
        '1.2 MB'
    """
    return f"{size_bytes / 1e6:,.1f} MB"
