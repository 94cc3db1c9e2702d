"""The week as the guide tells it: blocks between two marks, compared with what a test has seen, or written anew."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from textwrap import wrap

from tests.life.shop import Night

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "retraining.md"
ORDER = ["fetch-data", "validate", "embed", "distill", "evaluate"]
RETELL = "POLYDISTILL_RETELL"
"""Environment: set, the guide is written anew. Its diff is to be read like code."""
WIDTH, SHOWN = 120, 8
DECIMALS = re.compile(r"\d\.\d+")
"""Scores differ in their last digits from processor to processor."""


def diary(nights: Sequence[Night]) -> str:
    """Return a line or a few for each start of the flow: when, how it ended, what ran, why."""
    return "\n".join(line for night in nights for line in _told(night))


def require_told(name: str, text: str) -> None:
    """See that the guide's block of this name says `text`; with `RETELL`, write it there.

    Raises:
        AssertionError: It says something else.
    """
    before = GUIDE.read_text(encoding="utf-8")
    block = re.compile(rf"(?<=<!-- told: {name} -->\n```text\n).*?(?=```\n)", re.DOTALL)
    found = block.search(before)
    assert found is not None, f"{GUIDE} has no block {name!r}."
    if os.environ.get(RETELL):
        GUIDE.write_text(block.sub(lambda _: f"{text}\n", before, count=1), encoding="utf-8")
    else:
        assert _rounded(found[0]) == _rounded(f"{text}\n"), f"Written anew by {RETELL}=1."


def _told(night: Night) -> list[str]:
    when = datetime.fromisoformat(night.when)
    ran = {one.partition("@")[0] for one, how in night.stages.items() if how in {"ran", "failed"}}
    stages = ", ".join(sorted(ran, key=ORDER.index)) or "nothing"
    champion = night.aliases.get("champion", "none")
    return [
        f"{when:%a %d %H:%M}  {night.name:<9}  champion {champion}  ran: {stages}",
        *(f"    {line}" for line in shortened(night.message)),
    ]


def shortened(message: str) -> list[str]:
    """Return a message as a guide has room for it."""
    lines = [wrapped for line in message.splitlines() for wrapped in wrap(line, WIDTH)]
    more = [f"… {len(lines) - SHOWN} more lines"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *more]


def _rounded(text: str) -> str:
    return DECIMALS.sub("0.0", text)
