"""Examples as a reader of the page sees them: a shortened text, a small image, or a drawn molecule."""

import re
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from polydistill.contracts import Example
from polydistill.data.images import as_png, read_or_none
from polydistill.data.smiles import read_molecule

SHOWN = 180
"""Maximum number of characters of a text on the page."""
SIDE = 40
"""Longer side of an image on the page, in pixels."""
WIDTH, HEIGHT = 150, 96
"""Size of a drawn molecule, in pixels."""


@dataclass(frozen=True)
class Drawing:
    """An example on the page, with a picture of an image or a molecule.

    Attributes:
        text: The text; of a molecule its SMILES; of an image its size.
        png: A data URI, or empty.
        svg: An `<svg>` element, whose lines have the colour of the text around it, or empty.
    """

    text: str
    png: str = ""
    svg: str = ""


def draw(example: Example, modality: str) -> Drawing:
    """Return an example of a modality as it is shown. Other modalities than images and molecules are shown as text."""
    if modality == "vision":
        return _image(example)
    if modality == "molecules":
        return _molecule(example)
    return Drawing(shorten(example, SHOWN))


def describe(example: Example, modality: str, characters: int) -> str:
    """Return an example in a few words, for a point of the map."""
    return "image" if modality == "vision" else shorten(example, characters)


def shorten(example: Example, characters: int) -> str:
    r"""Return the beginning of a text, with spaces for line breaks.

    Examples:
        >>> shorten("one\n two three", 8)
        'one two…'
    """
    text = example if isinstance(example, str) else f"{len(example)} bytes"
    words = " ".join(text.split())
    return words if len(words) <= characters else f"{words[: characters - 1].rstrip()}…"


def _image(example: Example) -> Drawing:
    image = read_or_none(example)
    if image is None:
        return Drawing("an image that cannot be read")
    size = f"{image.width} x {image.height} pixels"
    image.thumbnail((SIDE, SIDE))
    png = b64encode(as_png(image.quantize(32))).decode("ascii")
    return Drawing(size, png=f"data:image/png;base64,{png}")


def _molecule(example: Example) -> Drawing:
    text = shorten(example, SHOWN)
    molecule = read_molecule(example)
    if molecule is None:
        return Drawing(text)
    from rdkit.Chem.Draw import rdMolDraw2D

    canvas = rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT, -1, -1, True)  # noqa: FBT003 - letters as text, not as outlines
    options: Any = canvas.drawOptions()
    options.useBWAtomPalette()
    options.clearBackground = False
    options.bondLineWidth = 1
    options.padding = 0.06
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, molecule)
    canvas.FinishDrawing()
    return Drawing(text, svg=_small(canvas.GetDrawingText()))


def _small(svg: str) -> str:
    """Return a drawing of RDKit without its classes and its header, in the colour of the text around it."""
    inside = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    inside = re.sub(r"<!--.*?-->|\s*class='[^']*'", "", inside, flags=re.DOTALL)
    inside = re.sub(r"(\d+\.\d)\d+", r"\1", inside.replace("#000000", "currentColor"))
    inside = re.sub(
        r"stroke-linecap:\w+;|stroke-linejoin:\w+;|stroke-opacity:1;?|fill-rule:evenodd;",
        "",
        inside,
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" aria-hidden="true">'
        f"{inside.strip()}</svg>"
    )
