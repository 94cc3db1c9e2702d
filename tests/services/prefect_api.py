"""A client of Prefect's REST API for tests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.request import Request, urlopen

RETRAIN = "retrain/retrain-text"


class Api:
    """Prefect's REST API."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, path: str, question: Mapping[str, object] | None = None) -> Any:
        """Return the response to a GET request, or to a POST request if there is a `question`."""
        body = None if question is None else json.dumps(question).encode()
        request = Request(f"{self._url}/{path}", body, {"Content-Type": "application/json"})  # noqa: S310 - ours
        with urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def deployment(self, name: str = RETRAIN) -> Any:
        """Return a deployment."""
        return self.ask(f"deployments/name/{name}")

    def schedule(self, slug: str, name: str = RETRAIN) -> Any:
        """Return a schedule of a deployment."""
        return next(one for one in self.deployment(name)["schedules"] if one["slug"] == slug)

    def runs(self, name: str = RETRAIN, *, scheduled: bool) -> list[Any]:
        """Return the runs of a deployment that a schedule created, or the other runs."""
        query = {"deployments": {"id": {"any_": [self.deployment(name)["id"]]}}}
        found = self.ask("flow_runs/filter", query)
        return [run for run in found if run["auto_scheduled"] == scheduled]


def until(found: Callable[[], Any], within_s: float) -> Any:
    """Call a function until its result is true, and return the result.

    Raises:
        TimeoutError: No result was true within `within_s` seconds.
    """
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(1)
    raise TimeoutError(f"No result within {within_s:g} s.")
