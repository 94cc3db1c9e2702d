"""The code blocks of README and the documentation."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block, or a command between backticks.

    Attributes:
        page: Relative to the repository.
        line: Where it starts.
        language: After the backticks; `inline` for a command in a sentence.
        code: Without the fence.
        note: A comment on the line before: `needs: registry`.
    """

    page: str
    line: int
    language: str
    code: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """Return every fenced block in these languages."""
    return [one for page in PAGES for one in _fenced(page) if one.language in languages]


def inline_code() -> list[Block]:
    """Return every piece of code in a sentence."""
    found = []
    for page in PAGES:
        prose = BLOCK.sub(
            lambda block: "\n" * block[0].count("\n"), page.read_text(encoding="utf-8")
        )
        found += [
            Block(str(page.relative_to(ROOT)), number, "inline", code)
            for number, line in enumerate(prose.splitlines(), 1)
            for code in INLINE.findall(line)
        ]
    return found


def _fenced(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            str(page.relative_to(ROOT)),
            text.count("\n", 0, found.start()) + 1,
            found["language"],
            textwrap.dedent(found["code"]),
            found["note"] or "",
        )
        for found in BLOCK.finditer(text)
    ]
