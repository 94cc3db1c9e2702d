from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow

from flows import retrain as module
from flows.retrain import retrain
from polydistill.integrations.planning import Plan

N_LATE = 12


@pytest.mark.slow
def test_of_many_late_runs_of_a_schedule_only_the_newest_executes(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed: list[str] = []
    monkeypatch.setattr(module, "sync_data", lambda: executed.append("data"))
    monkeypatch.setattr(module, "make_plan", lambda *_: Plan("unchanged", "Nothing."))
    monkeypatch.setattr(module, "report", lambda _modality: None)
    deployment = retrain.to_deployment("late", interval=3600, parameters={"modality": "text"})
    identity = deployment.apply()  # type: ignore[union-attr]
    now = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        client._client.post(
            f"/deployments/{identity}/schedule",
            json={
                "start_time": (now - timedelta(hours=N_LATE)).isoformat(),
                "end_time": now.isoformat(),
                "min_runs": N_LATE,
                "max_runs": N_LATE,
            },
        ).raise_for_status()
        late = sorted(
            (run for run in client.read_flow_runs() if run.deployment_id == identity
             and run.expected_start_time and run.expected_start_time <= now),
            key=lambda run: str(run.expected_start_time),
        )  # fmt: skip

    states = [
        run_flow(retrain, flow_run=run, parameters=run.parameters, return_type="state")
        for run in late
    ]

    names = [state.name for state in states]  # type: ignore[union-attr]
    assert len(late) >= N_LATE - 1
    assert names == ["Skipped"] * (len(late) - 1) + ["Unchanged"]
    assert executed == ["data"]
