"""Schedules: `python -m flows.deployments text --cron "0 3 * * *"` serves `retrain` until it is stopped."""

from __future__ import annotations

from typing import Annotated

import typer
from prefect.schedules import Cron, Interval, Schedule
from prefect.settings import get_current_settings

from flows.retrain import retrain
from polydistill.errors import ParamsError

Modality = Annotated[str, typer.Argument(help="A block of params.yaml: text.")]
CronLine = Annotated[str | None, typer.Option("--cron", help='When, as a cron line: "0 3 * * *".')]
Seconds = Annotated[float | None, typer.Option("--interval-s", help="Or every so many.", min=60)]


def require_server(url: str | None) -> None:
    """Refuse to serve without a server of its own: a temporary one never starts scheduled runs.

    Raises:
        ParamsError: `url` is None.
    """
    if url is None:
        raise ParamsError(
            "A schedule needs a server: run `prefect server start`, and set PREFECT_API_URL to its"
            " address: http://127.0.0.1:4200/api."
        )


def make_schedule(cron: str | None, interval_s: float | None) -> Schedule:
    """Return when a deployment runs.

    Raises:
        ParamsError: Both are given, or neither is.

    Examples:
        >>> make_schedule("0 3 * * *", None).cron
        '0 3 * * *'
    """
    if cron is not None and interval_s is None:
        return Cron(cron)
    if interval_s is not None and cron is None:
        return Interval(interval_s)
    raise ParamsError("A schedule needs either --cron or --interval-s.")


def serve(modality: Modality, cron: CronLine = None, interval_s: Seconds = None) -> None:
    """Serve `retrain` on a schedule, one run at a time: a project folder holds one run."""
    try:
        require_server(get_current_settings().api.url)
        schedule = make_schedule(cron, interval_s)
    except ParamsError as error:
        raise typer.BadParameter(str(error)) from error
    retrain.serve(
        name=f"retrain-{modality}",
        parameters={"modality": modality},
        schedule=schedule,
        limit=1,
        global_limit=1,
    )


if __name__ == "__main__":
    typer.run(serve)
