"""Commands for published versions: reproduce a version, remove unused files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from polydistill.cli.console import plain, show
from polydistill.cli.options import ROOT, AsJson, project_params

if TYPE_CHECKING:
    from polydistill.integrations.dvc.stages import StageState
    from polydistill.integrations.reproduction import Reproduction

commands = typer.Typer()


@commands.command(epilog="Example: polydistill reproduce models:/student-text@champion")
def reproduce(
    model: Annotated[str, typer.Argument(help="A version: models:/student-text@champion or …/3.")],
    *,
    reuse_embeddings: Annotated[
        bool, typer.Option(help="Use embeddings in DVC's cache: faster, but not recomputed.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference of a score or of nats per dimension.")
    ] = 0.01,
    exact: Annotated[bool, typer.Option(help="Exit 1 unless the bytes are identical.")] = False,
    keep: Annotated[bool, typer.Option(help="Keep the folder on success too.")] = False,
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
    from polydistill.integrations.housekeeping import sweep

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


def megabytes(size_bytes: int) -> str:
    """Return a number of bytes as text, in megabytes.

    Examples:
        >>> megabytes(1_250_000)
        '1.2 MB'
    """
    return f"{size_bytes / 1e6:,.1f} MB"
