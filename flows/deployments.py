"""Schedules without a work pool: this process serves `retrain`, and optionally `watch`, until it is stopped.

Example: `python -m flows.deployments text --cron "0 3 * * *" --timezone Europe/Berlin --watch-s 600`. For a work pool,
use `prefect.yaml`.
"""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer
from prefect import serve as serve_deployments
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.schedules import Cron, Interval, Schedule
from prefect.settings import get_current_settings

from flows.retrain import retrain
from flows.watch import DATA_CHANGED, DRIFT_FOUND, watch
from polydistill.errors import ParamsError

WAIT_S = 3600.0
"""How long a scheduled run waits for another run in the same folder, in seconds."""
Modality = Annotated[str, typer.Argument(help="A modality of params.yaml: text.")]
CronLine = Annotated[
    str | None, typer.Option("--cron", help='The schedule as a cron line: "0 3 * * *".')
]
Seconds = Annotated[
    float | None,
    typer.Option("--interval-s", help="The schedule as an interval, in seconds.", min=60),
]
Zone = Annotated[
    str | None, typer.Option("--timezone", help="The time zone of the cron line [UTC].")
]
WatchSeconds = Annotated[
    float | None,
    typer.Option(
        "--watch-s",
        help="Check for new data at this interval, in seconds, and run on new data.",
        min=10,
    ),
]


def require_server(url: str | None) -> None:
    """Check that a Prefect server is configured: a temporary one never starts scheduled runs.

    Raises:
        ParamsError: `url` is None.
    """
    if url is None:
        raise ParamsError(
            "A schedule needs a Prefect server: run `prefect server start`, and set PREFECT_API_URL to its"
            " address, such as http://127.0.0.1:4200/api."
        )


def make_schedule(
    cron: str | None, interval_s: float | None, timezone: str | None = None
) -> Schedule:
    """Return the schedule of a deployment.

    Raises:
        ParamsError: Both `cron` and `interval_s` are given, or neither; or an interval has a time zone.

    Examples:
        >>> make_schedule("0 3 * * *", None, "Europe/Berlin").timezone
        'Europe/Berlin'
    """
    if cron is not None and interval_s is None:
        return Cron(cron, timezone=timezone)
    if timezone is not None:
        raise ParamsError("--timezone belongs to --cron: an interval has no time zone.")
    if interval_s is not None and cron is None:
        return Interval(interval_s)
    raise ParamsError("A schedule needs exactly one of --cron and --interval-s.")


def make_trigger(modality: str, event: str) -> DeploymentEventTrigger:
    """Return the trigger that starts `retrain` on an event about a modality's data."""
    return DeploymentEventTrigger(
        name=f"retrain-{modality} on {event}",
        expect={event},
        match=cast("Any", {"prefect.resource.id": f"polydistill.data.{modality}"}),
        parameters={"modality": modality, "wait_s": WAIT_S},
    )


def make_deployments(
    modality: str, schedule: Schedule, watch_s: float | None = None
) -> list[RunnerDeployment]:
    """Return the deployments to serve. Each deployment has one run at a time; further runs wait in a queue."""
    events = () if watch_s is None else (DATA_CHANGED, DRIFT_FOUND)
    made = [
        retrain.to_deployment(
            f"retrain-{modality}",
            parameters={"modality": modality, "wait_s": WAIT_S},
            schedule=schedule,
            concurrency_limit=1,
            triggers=[make_trigger(modality, event) for event in events],
        )
    ]
    if watch_s is not None:
        made.append(
            watch.to_deployment(
                f"watch-{modality}",
                parameters={"modality": modality},
                schedule=Interval(watch_s),
                concurrency_limit=1,
            )
        )
    return cast("list[RunnerDeployment]", made)


def serve(
    modality: Modality,
    cron: CronLine = None,
    interval_s: Seconds = None,
    timezone: Zone = None,
    watch_s: WatchSeconds = None,
) -> None:
    """Serve `retrain` on a schedule, one run at a time per project folder."""
    try:
        require_server(get_current_settings().api.url)
        schedule = make_schedule(cron, interval_s, timezone)
    except ParamsError as error:
        raise typer.BadParameter(str(error)) from error
    serve_deployments(*make_deployments(modality, schedule, watch_s))


if __name__ == "__main__":
    typer.run(serve)
