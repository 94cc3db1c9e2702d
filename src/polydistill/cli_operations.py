"""The commands that look after a student in production; `cli` adds them to its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from polydistill.cli_analyses import AsJson, Modality
from polydistill.console import errors_for_people, plain, show

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
        from polydistill.integrations.planning import make_plan
        from polydistill.params import load_params

        show(make_plan(ROOT, load_params(ROOT), modality, policy), as_json=as_json)


@operations.command(epilog="Example: polydistill drift text")
def drift(modality: Modality, *, as_json: AsJson = False) -> None:
    """Compare the corpus with the champion's; exit 7 if it has drifted."""
    with errors_for_people():
        from polydistill.errors import DriftFoundError
        from polydistill.integrations.great_expectations import GreatExpectationsChecker
        from polydistill.integrations.mlflow_reference import champion_drift
        from polydistill.integrations.mlflow_store import model_name
        from polydistill.layout import Layout
        from polydistill.params import load_params

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
        from polydistill.integrations.mlflow_approval import reject as reject_challenger
        from polydistill.params import load_params

        verdict = reject_challenger(ROOT, load_params(ROOT), modality, by=by, reason=reason)
        show(verdict, as_json=as_json)
