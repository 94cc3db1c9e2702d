"""Texts: short pieces of natural language."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

from polydistill.contracts import Example, Rule
from polydistill.modalities import MODALITIES

WORD = re.compile(r"[^\W_]+")
MAX_CHARACTERS = 10_000
"""Longer rows are documents that nobody cut; teachers read the first 128 tokens or so."""


@MODALITIES.register("text")
class TextModality:
    """See `contracts.Modality`.

    Examples:
        >>> text = TextModality()
        >>> text.near_key("The  C++ library, (again)!")
        'the c library again'
        >>> text.content_id(" café ") == text.content_id("cafe\u0301")
        True
    """

    name = "text"
    column = "text"

    def content_id(self, example: Example) -> str:
        """See `contracts.Modality.content_id`; NFC and outer space do not count."""
        return hashlib.sha256(_canonical(example).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def near_key(self, example: Example) -> str:
        """See `contracts.Modality.near_key`: the words, case-folded; the text itself if it has none."""
        canonical = _canonical(example)
        return " ".join(WORD.findall(canonical.casefold())) or canonical

    def corpus_rules(self) -> Sequence[Rule]:
        """See `contracts.Modality.corpus_rules`."""
        return (
            Rule(
                "expect_column_value_lengths_to_be_between",
                {"column": self.column, "min_value": 3, "max_value": MAX_CHARACTERS},
                "a text is nearly empty, or a whole document",
            ),
            Rule(
                "expect_column_values_to_be_between",
                {"column": "printable_ratio", "min_value": 0.9},
                "a text is less than 90 % printable characters, or not valid UTF-8",
            ),
        )


def _canonical(example: Example) -> str:
    text = example if isinstance(example, str) else example.decode("utf-8")
    return unicodedata.normalize("NFC", text).strip()
