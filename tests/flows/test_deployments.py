from __future__ import annotations

from datetime import timedelta

import pytest

from flows.deployments import make_schedule, require_server
from polydistill.errors import ParamsError


def test_a_cron_line_or_an_interval_makes_the_schedule() -> None:
    assert make_schedule("0 3 * * *", None).cron == "0 3 * * *"
    assert make_schedule(None, 3600).interval == timedelta(hours=1)


@pytest.mark.parametrize("both", [(None, None), ("0 3 * * *", 60.0)])
def test_a_schedule_needs_one_of_the_two(both: tuple[str | None, float | None]) -> None:
    with pytest.raises(ParamsError, match="either --cron or --interval-s"):
        make_schedule(*both)


def test_a_schedule_needs_a_server_that_starts_its_runs() -> None:
    require_server("http://127.0.0.1:4200/api")

    with pytest.raises(ParamsError, match=r"prefect server start.*PREFECT_API_URL"):
        require_server(None)
