"""Plug-in package of the perturbations of texts, one file per plug-in: a benchmark and training use them."""

import hashlib
from collections.abc import Callable, Mapping
from zlib import crc32

import numpy as np

from polydistill.contracts import Example
from polydistill.data.texts import canonical_text
from polydistill.plugins import Plugins

PERTURBATIONS: Plugins[Callable[[str, np.random.Generator], str]] = Plugins(
    "perturbation", __name__
)


def perturb(name: str, text: Example, content_id: str) -> str:
    """Return a text changed by a perturbation. The change depends only on the perturbation and the content id.

    Raises:
        UnknownNameError: No perturbation has this name.

    Examples:
        >>> perturb("case", "the parts of a flower", "0" * 32)
        'THE PARTS OF A FLOWER'
    """
    generator = np.random.default_rng([crc32(name.encode()), int(content_id, 16)])
    return canonical_text(PERTURBATIONS.get(name)(canonical_text(text), generator))


def perturb_share(shares: Mapping[str, float], text: Example) -> Example:
    """Return the text, changed by at most one perturbation. What happens to a text depends only on its content.

    Args:
        shares: The share of all texts that each perturbation changes, in [0, 1].
        text: The text.

    Raises:
        UnknownNameError: No perturbation has this name.

    Examples:
        >>> perturb_share({"case": 1.0}, "the parts of a flower")
        'The Parts Of A Flower'
    """
    digest = hashlib.sha256(canonical_text(text).encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    for name, share in shares.items():
        if place < share:
            return perturb(name, text, digest[8:24].hex())
        place -= share
    return text
