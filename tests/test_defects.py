"""The page on defects names existing tests, and at least one test per defect."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "guides" / "defects.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def names_in(file: str) -> set[str]:
    path = ROOT / file
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.exists() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_test_named_on_the_page_exists() -> None:
    named = NAMED.findall(PAGE)

    missing = [f"{file}::{name}" for file, name in named if name not in names_in(file)]

    assert not missing
    assert len(named) == PAGE.count("::")  # every test is written in the same format


def test_each_of_the_sixteen_defects_has_tests() -> None:
    parts = re.split(r"^(\d+)\. ", PAGE, flags=re.MULTILINE)[1:]

    assert [int(number) for number in parts[::2]] == list(range(1, 17))
    assert all(NAMED.search(text) for text in parts[1::2])
