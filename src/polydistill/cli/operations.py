"""The commands that look after a student in production; `cli` adds them to its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from polydistill.cli.console import errors_for_people, plain, show
from polydistill.cli.look import AsJson, Modality

ROOT = Path()
operations = typer.Typer()
Policy = Literal["always", "on-new-data", "on-drift"]


@operations.command(epilog="Example: polydistill plan text")
def plan(
    modality: Modality,
    *,
    policy: Annotated[
        Policy | None,
        typer.Option(help="In place of params.yaml's: always, on-new-data, on-drift."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a retraining would have anything to do, and why; starts no stage."""
    with errors_for_people():
        from polydistill.config.params import load_params
        from polydistill.integrations.planning import make_plan

        show(make_plan(ROOT, load_params(ROOT), modality, policy), as_json=as_json)


@operations.command(epilog="Example: polydistill drift text")
def drift(modality: Modality, *, as_json: AsJson = False) -> None:
    """Compare the corpus with the champion's; exit 7 if it has drifted."""
    with errors_for_people():
        from polydistill.config.params import load_params
        from polydistill.errors import DriftFoundError
        from polydistill.integrations.great_expectations import GreatExpectationsChecker
        from polydistill.integrations.mlflow.drift_reference import champion_drift
        from polydistill.integrations.mlflow.store import model_name
        from polydistill.project.layout import Layout

        checker = GreatExpectationsChecker(Layout(ROOT, modality).drift_docs)
        params = load_params(ROOT)
        report = champion_drift(ROOT, params, modality, model_name(modality), checker)
        if as_json:
            show(report, as_json=True)
        else:
            fields = plain(report)
            fields["columns"] = {row.pop("column"): row for row in fields["columns"]}
            show(fields, as_json=False)
        if report.drifted:
            raise DriftFoundError(
                f"Drifted from champion {report.champion}: {', '.join(report.drifted)}."
            )


@operations.command(epilog='Example: polydistill reject text --by ada --reason "too slow"')
def reject(
    modality: Modality,
    *,
    by: Annotated[str, typer.Option(help="Who refuses it.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    as_json: AsJson = False,
) -> None:
    """Refuse the challenger in a person's name, though the gate may let it pass."""
    with errors_for_people():
        from polydistill.config.params import load_params
        from polydistill.integrations.mlflow.promotion import reject as reject_challenger

        verdict = reject_challenger(ROOT, load_params(ROOT), modality, by=by, reason=reason)
        show(verdict, as_json=as_json)


@operations.command(epilog="Example: polydistill workspace nightly")
def workspace(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Make, or bring up to date, a folder for scheduled runs, whose data and lock file move on by themselves."""
    with errors_for_people():
        from polydistill.project.workspace import make_workspace

        folder = make_workspace(ROOT, name, {}, moves_on=True)
        show({"workspace": folder.relative_to(ROOT.resolve())}, as_json=as_json)
