"""Generated markup that must stay text, and a parser that sees which markup a page has."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from itertools import product

BREAKS = ("", "'", '"', "</script>", "-->", '">', "'>", "</td></table>", "\\'", "`", "]]>", "&lt;")
"""What may end the element, attribute, comment or string around a value."""
ELEMENTS = (
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(2)">',
    "<img src=x onerror=alert(3)>",
    "<svg/onload=alert(4)>",
    " onmouseover=alert(5) x=",
    '<iframe src="javascript:alert(6)"></iframe>',
    "[a](javascript:alert(7))",
    "${alert(8)}{{7*7}}{% raw %}$v__0",
    "<style>*{}</style><base href=//x>",
)
HOSTILE = [before + element for before, element in product(BREAKS, ELEMENTS)]
HARMLESS = [f"harmless {number}" for number in range(len(HOSTILE))]


class Markup(HTMLParser):
    """Counts a page's elements with the names of their attributes, and collects its links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: Counter[tuple[str, ...]] = Counter()
        self.links: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag, *(name for name, _ in attrs)] += 1
        self.links += [value or "" for name, value in attrs if name in {"href", "src", "action"}]
