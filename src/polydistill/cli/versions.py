"""The commands that look after what was published: make it again, and clear away what nothing needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polydistill.cli.console import errors_for_people, plain, show
from polydistill.cli.look import AsJson

if TYPE_CHECKING:
    from polydistill.integrations.dvc.stages import StageState
    from polydistill.integrations.reproduction import Reproduction

ROOT = Path()
versions = typer.Typer()


@versions.command(epilog="Example: polydistill reproduce models:/student-text@champion")
def reproduce(
    model: Annotated[str, typer.Argument(help="A version: models:/student-text@champion or …/3.")],
    *,
    reuse_embeddings: Annotated[
        bool, typer.Option(help="Take embeddings from DVC's cache: minutes, not a whole proof.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference of a score or of nats per dimension.")
    ] = 0.01,
    exact: Annotated[bool, typer.Option(help="Exit 1 unless the bytes are identical.")] = False,
    keep: Annotated[bool, typer.Option(help="Leave the place there on success too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a version again from its commit, files and data, and compare; exit 1 if it is different."""
    with errors_for_people():
        from polydistill.integrations.reproduction import Wishes, reproduce_version

        wishes = Wishes(reuse_embeddings=reuse_embeddings, tolerance=tolerance, keep=keep)
        report = reproduce_version(ROOT, model, wishes, _say_stage)
        if as_json:
            show(report, as_json=True)
        else:
            _show(report)
        outcome = report.comparison.outcome
        if outcome == "different" or (exact and outcome != "identical bytes"):
            raise typer.Exit(1)


def _say_stage(state: StageState) -> None:
    typer.echo(f"{state.stage:<28}  {state.state:<9}  {state.seconds:.0f} s", err=True)


def _show(report: Reproduction) -> None:
    comparison = report.comparison
    words = {True: "same bytes", False: "other bytes"}
    table: dict[str, object] = {
        "version": f"{report.model} {report.version}",
        "commit": report.commit,
        "outcome": comparison.outcome,
        "student": words[comparison.student_identical],
        "undistilled": words[comparison.undistilled_identical],
        "stages": {
            state.stage: {"": state.state, "with": words[report.same_outputs[state.stage]]}
            for state in report.stages
        },
        "metrics": f"{comparison.n_metrics}, of which differ {len(comparison.differences)}",
        "differences": {
            one.metric: {
                "published": one.published,
                "reproduced": one.reproduced,
                "difference": one.difference,
            }
            for one in comparison.differences
        },
        "other packages": report.packages,
        "seconds": report.seconds,
    }
    if report.place:
        table["kept in"] = report.place
    show(plain(table), as_json=False)


@versions.command(epilog="Example: polydistill gc text --yes")
def gc(
    modality: Annotated[str | None, typer.Argument(help="A block of params.yaml [all].")] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed.")] = False,
    keep_versions: Annotated[
        int, typer.Option(min=0, help="So many of the newest versions stay in any case.")
    ] = 3,
    older_than_h: Annotated[
        float, typer.Option(min=0, help="Leave alone what was written in the last so many hours.")
    ] = 24.0,
    as_json: AsJson = False,
) -> None:
    """List what no alias, lock or ledger entry needs, with why and how much; --yes removes it."""
    with errors_for_people():
        from polydistill.config.params import load_params
        from polydistill.integrations.housekeeping import sweep

        params = load_params(ROOT)
        modalities = list(params.modalities)
        if modality is not None:
            params.modality(modality)
            modalities = [modality]
        report = sweep(ROOT, modalities, (older_than_h, keep_versions), remove=yes)
        if as_json:
            show(report, as_json=True)
            return
        for one in report.garbage:
            typer.echo(f"{one.kind:<11} {megabytes(one.size_bytes):>11}  {one.what}  ({one.why})")
        verb = "removed" if yes else "to remove: --yes does it"
        typer.echo(f"{len(report.garbage)} things, {megabytes(report.size_bytes)}, {verb}.")


def megabytes(size_bytes: int) -> str:
    """Write bytes for a person.

    Examples:
        >>> megabytes(1_250_000)
        '1.2 MB'
    """
    return f"{size_bytes / 1e6:,.1f} MB"
