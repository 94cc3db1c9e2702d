"""The perturbation `typos`: errors of a hurried typist."""

import numpy as np

from polydistill.data.perturbations import PERTURBATIONS

CHARACTERS_PER_TYPO = 20
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
NEIGHBOURS = {
    key: row[max(at - 1, 0) : at] + row[at + 1 : at + 2]
    for row in KEYBOARD
    for at, key in enumerate(row)
}


@PERTURBATIONS.register("typos")
def typos(text: str, generator: np.random.Generator) -> str:
    """Return the text with one typo per 20 characters, and at least one, at letters drawn at random.

    A typo swaps a letter with the next one, drops it, doubles it, or replaces it by its neighbour on an English keyboard.
    """
    places = [at for at, one in enumerate(text) if one.isalpha()] or [*range(len(text))]
    n_typos = min(max(1, round(len(text) / CHARACTERS_PER_TYPO)), len(places))
    draws = generator.random((n_typos, 2))
    marks = [*text]
    for where, kind in draws:
        at = places.pop(int(where * len(places)))
        marks[at] = _mistyped(marks, at, kind)
    return "".join(marks)


def _mistyped(marks: list[str], at: int, draw: float) -> str:
    """Return what replaces the character at a place; for a swap, also change the next one. `draw` is in [0, 1)."""
    own, following = marks[at], "".join(marks[at + 1 : at + 2])
    near = NEIGHBOURS.get(own.lower(), "")
    if draw < 0.25 and following.isalpha() and following != own:
        marks[at + 1] = own
        return following
    if 0.25 <= draw < 0.5 and len(marks) > 1:
        return ""
    if draw >= 0.75 and near:
        other = near[int(draw * 1000) % len(near)]
        return other.upper() if own.isupper() else other
    return own * 2
