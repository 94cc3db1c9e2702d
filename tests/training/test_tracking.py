from __future__ import annotations

import json
from pathlib import Path

from polydistill.contracts import Tracker
from tests.jsonl_tracker import JsonlTracker


def test_a_file_holds_every_call_as_one_line_at_once(tmp_path: Path) -> None:
    tracker: Tracker = JsonlTracker(tmp_path / "deep" / "run.jsonl")

    tracker.log_params({"seed": 0, "loss": {"name": "mse"}})
    tracker.log_metrics({"held_out/mean": 1.5}, step=3)
    tracker.set_tags({"student_sha256": "ab"})

    lines = (tmp_path / "deep" / "run.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"params": {"seed": 0, "loss": {"name": "mse"}}},
        {"step": 3, "metrics": {"held_out/mean": 1.5}},
        {"tags": {"student_sha256": "ab"}},
    ]
    tracker.close()
