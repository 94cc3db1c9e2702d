"""A machine's clock goes back between two moves: it is told, and the chain's order is what counts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.config.params import load_params
from polydistill.integrations.mlflow.promotion import promote
from polydistill.integrations.mlflow.publish import publish
from polydistill.registry.recorded import RecordedRegistry

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def at(patch: pytest.MonkeyPatch, moment: datetime) -> None:
    """Set the clock of every command from here on."""
    clocked = partial(RecordedRegistry, now=lambda: moment)
    patch.setattr("polydistill.integrations.mlflow.ledger.RecordedRegistry", clocked)


@pytest.fixture
def told(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> list[str]:
    """What was said while a version was published at noon and promoted at ten, two hours earlier."""
    monkeypatch.chdir(evaluated)
    params = load_params(evaluated)
    at(monkeypatch, NOON)
    publish(evaluated, params, "text")
    assert not caplog.messages
    at(monkeypatch, NOON - timedelta(hours=2))
    promote(evaluated, params, "text")
    return caplog.messages


def history(*options: str) -> Any:
    result = CliRunner().invoke(app, ["history", "student-text", "--json", *options])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_a_clock_that_has_gone_back_is_told_and_history_keeps_the_chains_order(
    told: list[str],
) -> None:
    (notice,) = (one for one in told if "one of the clocks is wrong" in one)
    assert "here says 2026-01-05T10:00:00+00:00" in notice
    assert "an entry of 2026-01-05T12:00:00+00:00" in notice
    assert notice.endswith("The entries' order is what counts.")

    found = history()

    assert [entry["number"] for entry in found["entries"]] == [1, 2, 3]
    assert [entry["action"] for entry in found["entries"]] == ["first", "challenge", "promote"]
    assert found["entries"][2]["when"] < found["entries"][1]["when"]
    assert found["aliases"] == {"challenger": 1, "champion": 1}


def test_the_aliases_of_a_moment_follow_the_chain_though_a_clock_had_gone_back(
    told: list[str],
) -> None:
    assert history("--at", "2026-01-05T11:00")["aliases"] == {}  # the first entry is of noon
    assert history("--at", "2026-01-05T12:00")["aliases"] == {"challenger": 1, "champion": 1}
