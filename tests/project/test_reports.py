"""Every report that a command reads is valid or refused by one typed error, whatever happened to the file."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydistill.errors import DataError, PolydistillError
from polydistill.project.layout import Layout
from polydistill.project.reports import SHAPES, read_report
from polydistill.report.facts import collect
from polydistill.report.page import write_report
from polydistill.report.results import read_inputs
from polydistill.report.summary import render, summarise
from tests.config.test_odd_settings import places, replaced
from tests.report.example_run import example_params, write_run

ODD: list[object] = [
    None,
    True,
    0,
    -1.5,
    float("nan"),
    "",
    "x" * 9000,
    [],
    {},
    [[1]],
    {"a": [None]},
]
DAMAGES: dict[str, bytes] = {
    "empty": b"",
    "a list": b"[1]",
    "null": b"null",
    "a string": b'"x"',
    "half": b'{"success": tr',
    "with a BOM": b"\xef\xbb\xbf{}",
    "utf-16": "{}".encode("utf-16"),
    "binary": bytes(range(256)),
    "nested": b"[" * 100_000,
    "nan": b'{"student": {"sts": {"a": NaN}}}',
    "infinite": b'{"student": {"sts": {"a": 1e999}}}',
}


@pytest.mark.parametrize("stage", SHAPES)
@pytest.mark.parametrize("content", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_report_is_named(tmp_path: Path, stage: str, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)

    with pytest.raises(
        DataError, match=rf"report\.json is damaged: .*Run the {stage} stage"
    ) as got:
        read_report(path, stage)

    assert len(str(got.value)) < 600


def test_a_report_that_is_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: .*directory.*Run the distill stage"):
        read_report(tmp_path, "distill")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    write_run(root)
    return root


@given(st.data())
@settings(max_examples=12, deadline=None)
def test_an_odd_value_in_a_report_is_shown_or_named(run: Path, data: st.DataObject) -> None:
    layout = Layout(run, "text")
    known = (layout.scores, layout.verdict, layout.validation, layout.distillation)
    path = data.draw(st.sampled_from([one for one in known if one.exists()]))
    before = path.read_text()
    tree: dict[str, Any] = json.loads(before)
    place = data.draw(st.sampled_from([*places(tree)]))
    value = data.draw(st.sampled_from(ODD))
    path.write_text(json.dumps(replaced(copy.deepcopy(tree), place, value)))

    try:
        render(summarise(run, example_params(), "text"))
        write_report(run, collect(run, example_params(), "text", speed=False))
    except PolydistillError as error:
        assert_short(error)
    finally:
        path.write_text(before)


@pytest.mark.parametrize("name", ["verdict", "validation", "distillation"])
def test_a_report_that_lacks_a_key_is_shown_or_named(run: Path, name: str) -> None:
    path: Path = getattr(Layout(run, "text"), name)
    before = path.read_text()
    tree: dict[str, Any] = json.loads(before)
    kept, messages = dict[str, Any](), list[tuple[str, str]]()
    try:
        for key, value in tree.items():  # without the keys that a report may lack, it is shown
            path.write_text(json.dumps({k: v for k, v in tree.items() if k != key}))
            try:
                read_inputs(Layout(run, "text"))
            except DataError as error:
                kept[key] = value
                messages.append((f"{key}: Field required", str(error)))
        assert all(part in message for part, message in messages)
        path.write_text(json.dumps(kept))
        render(summarise(run, example_params(), "text"))
        write_report(run, collect(run, example_params(), "text", speed=False))
    finally:
        path.write_text(before)


def assert_short(error: PolydistillError) -> None:
    assert len(str(error)) < 1000
