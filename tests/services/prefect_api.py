"""Prefect's server, asked by a test for what it holds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.request import Request, urlopen

RETRAIN = "retrain/retrain-text"


class Api:
    """Prefect's, asked as its own client does."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, path: str, question: Mapping[str, object] | None = None) -> Any:
        """Return the answer to a GET, or to a POST with a question."""
        body = None if question is None else json.dumps(question).encode()
        request = Request(f"{self._url}/{path}", body, {"Content-Type": "application/json"})  # noqa: S310 - ours
        with urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def deployment(self, name: str = RETRAIN) -> Any:
        """Return a deployment."""
        return self.ask(f"deployments/name/{name}")

    def schedule(self, slug: str, name: str = RETRAIN) -> Any:
        """Return one of its schedules."""
        return next(one for one in self.deployment(name)["schedules"] if one["slug"] == slug)

    def runs(self, name: str = RETRAIN, *, scheduled: bool) -> list[Any]:
        """Return its runs: those that a schedule has made, or the others."""
        there = {"deployments": {"id": {"any_": [self.deployment(name)["id"]]}}}
        found = self.ask("flow_runs/filter", there)
        return [run for run in found if run["auto_scheduled"] == scheduled]


def until(found: Callable[[], Any], within_s: float) -> Any:
    """Return the first answer that is true.

    Raises:
        TimeoutError: There was none.
    """
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(1)
    raise TimeoutError(f"Nothing in {within_s:g} s.")
