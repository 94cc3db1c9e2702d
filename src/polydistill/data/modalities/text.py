"""Texts: short pieces of natural language."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence

from polydistill.contracts import Example, Rule
from polydistill.data.modalities import MODALITIES, between, rule
from polydistill.data.texts import canonical_text
from polydistill.errors import DataError, short

WORD = re.compile(r"[^\W_]+")
WHITE_SPACE = {ord(mark): " " for mark in "\t\n\r"}
MAX_CHARACTERS = 10_000
"""The maximum length. Longer rows are whole documents, and teachers read only about the first 128 tokens."""
LEAST_PRINTABLE = 0.9
UNPRINTABLE_CATEGORIES = frozenset({"Cc", "Cs", "Co", "Cn"})
UNPRINTABLE = "less than 90 % of {}'s characters are printable, or it is not valid UTF-8"


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
    near_similarity: float | None = 0.8
    requirements = ("sentence-transformers", "tokenizers")

    def content_id(self, example: Example) -> str:
        """See `contracts.Modality.content_id`; Unicode normalisation (NFC) and surrounding space do not change it."""
        return hashlib.sha256(canonical_text(example).encode()).hexdigest()[:32]

    def near_key(self, example: Example) -> str:
        """See `contracts.Modality.near_key`: the case-folded words; the text itself if it has no word."""
        canonical = canonical_text(example)
        return " ".join(_words(canonical.casefold())) or canonical

    def split_key(self, example: Example) -> str | None:  # noqa: ARG002
        """See `contracts.Modality.split_key`: texts have none."""
        return None

    def coerce(self, value: object) -> Example:
        """See `contracts.Modality.coerce`: the canonical form of a string, or of bytes, which are decoded as UTF-8."""
        if not isinstance(value, str | bytes):
            raise DataError(
                f"A text must be a string, got {short(value)} ({type(value).__name__})."
            )
        return canonical_text(value)

    def canonical(self, example: Example) -> Example:
        """See `contracts.Modality.canonical`."""
        return canonical_text(example)

    def derived(self, shown: Sequence[Sequence[Example]]) -> Mapping[str, Sequence[float]]:
        """See `contracts.Modality.derived`: the number of characters, and the share of printable ones."""
        texts = ["\n".join(map(str, examples)) for examples in shown]
        return {
            "n_characters": [len(text) for text in texts],
            "printable_ratio": [_count_printable(text) / max(len(text), 1) for text in texts],
        }

    def corpus_rules(self) -> Sequence[Rule]:
        """See `contracts.Modality.corpus_rules`."""
        because = f"a text has fewer than 3 or more than {MAX_CHARACTERS:,} characters"
        limits = {"min_value": 3, "max_value": MAX_CHARACTERS}
        unprintable = UNPRINTABLE.format("a text")
        return (
            rule("value_lengths_to_be_between", self.column, because, **limits),
            between("printable_ratio", unprintable, min_value=LEAST_PRINTABLE),
        )

    def task_rules(self, columns: Sequence[str]) -> Sequence[Rule]:
        """See `contracts.Modality.task_rules`."""
        lengths, unprintable = "value_lengths_to_be_between", UNPRINTABLE.format("an example")
        return (
            between("printable_ratio", unprintable, min_value=LEAST_PRINTABLE),
            *(rule(lengths, column, "an example is empty", min_value=1) for column in columns),
        )


def _count_printable(text: str) -> int:
    """Return the number of printable characters: white space and invisible marks of a script count as printable.

    Control, surrogate, private and unassigned characters, and the replacement of an invalid byte, do not count.
    """
    text = text.translate(WHITE_SPACE).replace("\ufffd", "\0")
    if text.isprintable():
        return len(text)
    return sum(unicodedata.category(one) not in UNPRINTABLE_CATEGORIES for one in text)


def _words(text: str) -> list[str]:
    """Return the runs of letters, digits and the combining marks on them, such as the vowel signs of Hindi and Thai."""
    if text.isascii():
        return WORD.findall(text)
    spaced = (one if one.isalnum() or unicodedata.category(one)[0] == "M" else " " for one in text)
    return [word for word in "".join(spaced).split() if any(map(str.isalnum, word))]
