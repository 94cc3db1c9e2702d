from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
import yaml
from prefect.server.schemas.schedules import CronSchedule

from flows import watch
from flows.deployments import make_deployments, make_schedule, require_server
from polydistill.errors import ParamsError
from tests.toy_project import REPOSITORY

YAML = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())


def test_a_schedule_is_made_from_a_cron_line_or_an_interval() -> None:
    assert make_schedule("0 3 * * *", None).cron == "0 3 * * *"
    assert make_schedule("0 3 * * *", None, "Europe/Berlin").timezone == "Europe/Berlin"
    assert make_schedule(None, 3600).interval == timedelta(hours=1)


@pytest.mark.parametrize("both", [(None, None), ("0 3 * * *", 60.0)])
def test_a_schedule_needs_exactly_one_of_cron_and_interval(
    both: tuple[str | None, float | None],
) -> None:
    with pytest.raises(ParamsError, match="exactly one of --cron and --interval-s"):
        make_schedule(*both)


def test_an_interval_has_no_time_zone() -> None:
    with pytest.raises(ParamsError, match="--timezone belongs to --cron"):
        make_schedule(None, 3600, "Europe/Berlin")


def test_serving_a_schedule_needs_a_persistent_server() -> None:
    require_server("http://127.0.0.1:4200/api")

    with pytest.raises(ParamsError, match=r"prefect server start.*PREFECT_API_URL"):
        require_server(None)


def test_deployments_run_one_at_a_time_and_with_a_watcher_also_on_events() -> None:
    plain = make_deployments("text", make_schedule("0 3 * * *", None))
    watched = make_deployments("text", make_schedule("0 3 * * *", None), watch_s=600)

    assert [one.name for one in plain] == ["retrain-text"]
    assert plain[0].triggers == []
    assert [one.name for one in watched] == ["retrain-text", "watch-text"]
    assert [one.concurrency_limit for one in watched] == [1, 1]
    triggers: list[Any] = watched[0].triggers
    assert [one.expect for one in triggers] == [{watch.DATA_CHANGED}, {watch.DRIFT_FOUND}]


def due(cron: str, zone: str, start: datetime, n: int) -> list[str]:
    schedule: Any = CronSchedule(cron=cron, timezone=zone)
    dates = asyncio.run(schedule.get_dates(n, start))
    return [date.astimezone(UTC).strftime("%m-%d %H:%M") for date in dates]


def test_the_night_that_loses_an_hour_has_one_run() -> None:
    dates = due("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 27, 12, tzinfo=UTC), 3)

    assert dates == ["03-28 01:30", "03-29 00:30", "03-30 00:30"]  # 02:30, 01:30, 02:30 in Berlin


def test_the_night_that_repeats_an_hour_has_one_run() -> None:
    dates = due("30 2 * * *", "Europe/Berlin", datetime(2026, 10, 23, 12, tzinfo=UTC), 3)

    assert dates == ["10-24 00:30", "10-25 00:30", "10-26 01:30"]


@pytest.mark.parametrize("deployment", YAML["deployments"], ids=lambda one: one["name"])
def test_every_deployment_of_prefect_yaml_names_a_flow_that_accepts_its_parameters(
    deployment: dict[str, Any],
) -> None:
    file, _, name = deployment["entrypoint"].partition(":")
    flow = getattr(import_module(file.removesuffix(".py").replace("/", ".")), name)

    calls = [deployment, *deployment.get("triggers", [])]
    for call in calls:
        flow.validate_parameters(call["parameters"])
        assert set(call["parameters"]) <= set(flow.parameters.properties)
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_the_triggers_of_prefect_yaml_expect_the_events_of_the_watcher() -> None:
    triggers = YAML["deployments"][0]["triggers"]

    assert [one["expect"] for one in triggers] == [[watch.DATA_CHANGED], [watch.DRIFT_FOUND]]
