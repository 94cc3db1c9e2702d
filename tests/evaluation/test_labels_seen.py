"""Marks of scores on tasks whose labels a teacher was trained on: in params, the report and the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polydistill.config.operations import GateParams
from polydistill.config.params import Params, parse_params
from polydistill.errors import ParamsError
from polydistill.evaluation.contamination import Contamination
from polydistill.registry.evidence import Evidence
from polydistill.registry.gate import stamp_rules
from polydistill.report.facts import collect
from polydistill.report.page import write_report
from tests.our_params import ONLY_GAIN, text_params
from tests.report.example_run import example_params, write_run


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


def test_the_report_s_row_says_so(tmp_path: Path) -> None:
    write_run(tmp_path)
    teachers = {"minilm-l6": {"family": "hashing", "dim": 8, "saw_labels_of": ["simlex"]}}

    page = write_report(
        tmp_path, collect(tmp_path, example_params(teachers=teachers), "text", speed=False)
    )

    html = page.read_text(encoding="utf-8")
    assert "simlex<small>sts, out-domain, labels seen by minilm-l6</small>" in html
    assert html.count("labels seen by minilm-l6") == 2  # in both tables of tasks


def test_the_gate_s_contamination_says_so_and_passes() -> None:
    found = Contamination({"one": 0.0}, 10, 0, {"two": ("dmpnn", "other")})

    rule = next(stamp_rules(GateParams(**ONLY_GAIN | {"max_contamination": 0.0}), Evidence(found)))

    assert rule.passed
    assert rule.because.endswith("Teachers were trained on the labels of two (dmpnn, other).")
