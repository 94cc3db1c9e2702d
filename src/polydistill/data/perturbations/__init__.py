"""Plug-in package of the perturbations of texts, one file per plug-in; they show how robust a model is."""

from collections.abc import Callable
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
        'The Parts Of A Flower'
    """
    generator = np.random.default_rng([crc32(name.encode()), int(content_id, 16)])
    return canonical_text(PERTURBATIONS.get(name)(canonical_text(text), generator))
