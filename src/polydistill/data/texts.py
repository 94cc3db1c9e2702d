"""The canonical form of texts, from which their ids and embeddings are computed."""

import re
import unicodedata

from polydistill.contracts import Example
from polydistill.errors import DataError, short

SURROGATES = re.compile("[\ud800-\udfff]")


def canonical_text(example: Example) -> str:
    r"""Return a text in Unicode's normal form C (NFC), without white space at its ends.

    Bytes are decoded as UTF-8. A surrogate, which no encoding can represent, becomes U+FFFD.

    Raises:
        DataError: The bytes are not UTF-8.

    Examples:
        >>> canonical_text(b" cafe\xcc\x81 ") == canonical_text("caf\u00e9")
        True
    """
    if isinstance(example, bytes):
        try:
            example = example.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"A text must be UTF-8, got byte 0x{example[error.start]:02x} at position {error.start} of "
                f"{short(example)}."
            ) from error
    return unicodedata.normalize("NFC", SURROGATES.sub("\ufffd", example)).strip()
