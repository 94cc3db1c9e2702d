"""Every YAML block of README and the documentation is valid where it says that it belongs: in params.yaml, or among tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from polydistill.config.params import parse_params, read_mapping, task_params
from polydistill.config.tree import Params
from polydistill.errors import ParamsError
from polydistill.training.plug_ins import check_method
from tests.docs.blocks import ROOT, Block, blocks

OURS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def merged(ours: Mapping[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    """Put what a page shows into our own settings; a plug-in that is named replaces ours."""
    both = dict(ours)
    for key, value in shown.items():
        below = ours.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and "name" not in value:
            value = merged(below, value)  # noqa: PLW2901
        both[key] = value
    return both


def check(shown: Mapping[str, Any]) -> None:
    """Fail unless settings, or a table of tasks, are valid.

    Raises:
        ParamsError: A key or a name is unknown, or a value is out of bounds.
    """
    if all(isinstance(row, dict) and "kind" in row for row in shown.values()):
        for name, row in shown.items():
            task_params(name, row)
        return
    params = parse_params(merged(OURS, shown))
    for name in set(shown) - set(Params.model_fields):
        check_method(params.modality(name))


@pytest.mark.parametrize(
    "block", [one for one in blocks("yaml") if not one.note.startswith("not checked")], ids=str
)
def test_a_block_of_settings_is_valid(block: Block, tmp_path: Path) -> None:
    (tmp_path / "block.yaml").write_text(block.code, encoding="utf-8")

    check(read_mapping(tmp_path / "block.yaml"))


@pytest.mark.parametrize(
    "text",
    [
        "text: {corpos: {rows: 5}}",
        "text: {loss: {name: gausian-nll}}",
        "text: {training: {epochs: -1}}",
        "intents: {kind: clasification, path: intents.csv}",
    ],
)
def test_a_block_that_is_wrong_is_found(text: str) -> None:
    with pytest.raises(ParamsError):
        check(yaml.safe_load(text))
