"""The week in the guide on retraining: its text blocks are compared with the output of a test, or updated from it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from textwrap import wrap

from tests.life.shop import Night

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "retraining.md"
ORDER = ["params", "fetch-data", "validate", "embed", "distill", "evaluate"]
UPDATE = "POLYDISTILL_UPDATE_GUIDE"
"""The environment variable that makes the test update the guide. Review the diff like code."""
WIDTH, SHOWN = 120, 8
DECIMALS = re.compile(r"\d\.\d+")
"""The last digits of scores depend on the processor, so decimals are not compared."""


def diary(nights: Sequence[Night]) -> str:
    """Return a few lines per run of the flow: when it started, how it ended, which stages ran, and why."""
    return "\n".join(line for night in nights for line in _lines(night))


def require_documented(name: str, text: str) -> None:
    """Check that the guide's block of this name equals `text`; if `UPDATE` is set, update the block.

    Raises:
        AssertionError: The block differs.
    """
    before = GUIDE.read_text(encoding="utf-8")
    block = re.compile(rf"(?<=<!-- checked: {name} -->\n```text\n).*?(?=```\n)", re.DOTALL)
    found = block.search(before)
    assert found is not None, f"{GUIDE} has no block {name!r}."
    if os.environ.get(UPDATE):
        GUIDE.write_text(block.sub(lambda _: f"{text}\n", before, count=1), encoding="utf-8")
    else:
        assert _rounded(found[0]) == _rounded(f"{text}\n"), (
            f"{UPDATE}=1 rewrites the block in the guide."
        )


def _lines(night: Night) -> list[str]:
    when = datetime.fromisoformat(night.when)
    ran = {one.partition("@")[0] for one, how in night.stages.items() if how in {"ran", "failed"}}
    stages = ", ".join(sorted(ran, key=ORDER.index)) or "nothing"
    champion = night.aliases.get("champion", "none")
    return [
        f"{when:%a %d %H:%M}  {night.name:<9}  champion {champion}  ran: {stages}",
        *(f"    {line}" for line in shortened(night.message)),
    ]


def shortened(message: str) -> list[str]:
    """Return the lines of a message, shortened for the guide."""
    lines = [wrapped for line in message.splitlines() for wrapped in wrap(line, WIDTH)]
    more = [f"… {len(lines) - SHOWN} more lines"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *more]


def _rounded(text: str) -> str:
    return DECIMALS.sub("0.0", text)
