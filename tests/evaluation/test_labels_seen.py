"""Marks of scores on tasks whose labels a teacher was trained on: in params, the report and the gate."""

from __future__ import annotations

from typing import Any

import pytest

from polydistill.config.data import TaskParams
from polydistill.config.operations import GateParams
from polydistill.config.params import Params, parse_params
from polydistill.errors import ParamsError
from polydistill.evaluation.contamination import Contamination
from polydistill.registry.evidence import Evidence
from polydistill.registry.rules import stamp_rules
from polydistill.report.tables import task_table
from tests.our_params import ONLY_GAIN, text_params


def params(*seen: str) -> Params:
    tree: dict[str, Any] = text_params()
    tree["text"]["teachers"]["minilm-l6"]["saw_labels_of"] = list(seen)
    return parse_params(tree)


def test_params_say_which_teachers_have_seen_a_task_s_labels() -> None:
    assert params("lee", "simlex").labels_seen("text") == {
        "lee": ("minilm-l6",),
        "simlex": ("minilm-l6",),
    }
    assert params().labels_seen("text") == {}


def test_a_task_that_is_not_there_is_refused() -> None:
    with pytest.raises(ParamsError, match="Did you mean 'simlex'"):
        params("simlx")


def test_the_report_s_row_says_so() -> None:
    tasks = {
        name: TaskParams(kind="regression", path="a.csv", domain="out") for name in ("one", "two")
    }
    scores = {"student": {"regression": {"one": 0.5, "two": 0.4}}}

    notes = [row.note for row in task_table(scores, tasks, [], {"two": ("dmpnn",)}).rows]

    assert notes == [
        "regression, out-domain",
        "regression, out-domain, labels seen by dmpnn",
    ]


def test_the_gate_s_contamination_says_so_and_passes() -> None:
    found = Contamination({"one": 0.0}, 10, 0, {"two": ("dmpnn", "other")})

    rule = next(stamp_rules(GateParams(**ONLY_GAIN | {"max_contamination": 0.0}), Evidence(found)))

    assert rule.passed
    assert rule.because.endswith("Teachers were trained on the labels of two (dmpnn, other).")
