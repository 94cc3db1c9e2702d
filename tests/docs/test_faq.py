"""The messages that head the FAQ are messages of the code."""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.docs.blocks import ROOT

FOLDERS = ("src", "flows", "recipes", "experiments")


LONG = 11
"""Shorter pieces of a message, between what it fills in, are everywhere."""


@cache
def strings() -> str:
    """Return the code with each long message on one line, and what is filled in as an ellipsis."""
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    joined = re.sub(r'"\s*\n\s*f?"', "", code)
    return re.sub(r"\{[^{}]*\}", "…", joined).replace("`", "")


def messages() -> list[str]:
    """Return the headings of the FAQ that are messages."""
    text = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    return re.findall(r"^### `(.+)`$", text, re.MULTILINE)


def is_in_the_code(message: str) -> bool:
    """Return whether every long piece of a message is in the code."""
    pieces = [one.strip(" '.") for one in re.split(r"…|params\.yaml|: |corpus\.held_out", message)]
    long = [one for one in pieces if len(one) >= LONG]
    return bool(long) and all(one in strings() for one in long)


@pytest.mark.parametrize("message", messages())
def test_a_heading_is_a_message_of_the_code(message: str) -> None:
    assert is_in_the_code(message)


def test_a_heading_that_is_no_message_is_found() -> None:
    assert len(messages()) > 10
    assert not is_in_the_code("Training diverged … occasionally, and nobody knows why")
