"""The perturbation `case`: another capitalisation."""

import numpy as np

from polydistill.data.perturbations import PERTURBATIONS


@PERTURBATIONS.register("case")
def case(text: str, generator: np.random.Generator) -> str:
    """Return the text in upper, lower or title case: one that differs from the text, if there is one."""
    others = [other for other in (text.upper(), text.lower(), text.title()) if other != text]
    return others[int(generator.random() * len(others))] if others else text
