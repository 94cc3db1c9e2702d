"""Read the sources of the vision data: pictures with labels and groups, from archives and fonts."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from polydistill.data.images import UnreadableImageError, read_image, square
from recipes.sources.order import order_of

SIDE, SCANNED_SIDE = 64, 32
COLOURS, GREYS = 32, 17
LEAST_GLYPHS, GLYPHS_PER_FONT = 60, 260
WORDS_PER_FONT = 13
LATIN = re.compile(r"Noto(Sans|Serif|SansDisplay|SerifDisplay|SansMono)-\w+\.ttf")
SKIPPED_FONTS = {"", "Mono", "Display", "Symbols", "Symbols2", "Math"}
SKIPPED_CLIPART = {"special", "unsorted"}
GARMENTS = (
    "T-shirt or top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip
GARMENTS_READ = {"train": 8_000, "test": 1_500}
"""The number of pictures that are read of each official part of Fashion-MNIST."""
IDX_HEADERS = {"images-idx3": 16, "labels-idx1": 8}
"""Bytes before the values in a file of the IDX format."""


class Picture(NamedTuple):
    """An image of a source: WebP bytes, label, source, group, and the part of the source's own split, if it has one."""

    image: bytes
    label: str | float
    source: str
    group: str
    part: str = ""


def clipart(folder: Path) -> Iterator[Picture]:
    """Yield the drawings of openclipart. The label is the folder; numbered variants form one group."""
    for path in sorted(folder.rglob("*.png")):
        parts = path.relative_to(folder).parts
        if parts[0] in SKIPPED_CLIPART:
            continue
        try:
            image = read_image(path.read_bytes())
        except UnreadableImageError:
            continue  # a few are too large to read
        stem = re.sub(r"[\d_\-. ]+", "-", path.stem.lower()).strip("-")
        yield Picture(_drawn(image), parts[0], "openclipart", f"openclipart-{stem}")


def emoji(archive: Path, vendor: str) -> Iterator[Picture]:
    """Yield the emoji of a vendor. The label is the Unicode group; the group is the code points."""
    with tarfile.open(archive) as package:
        listing = package.extractfile("package/emoji.json")
        entries = json.load(listing) if listing else []
        wanted = {one["image"]: one for one in entries if one["category"] != "Component"}
        prefix = f"package/img/{vendor}/64/"
        for member in sorted(package.getmembers(), key=lambda one: one.name):
            entry = wanted.get(member.name.removeprefix(prefix))
            content = package.extractfile(member) if entry else None
            if entry and content:
                image = _drawn(read_image(content.read()))
                yield Picture(
                    image, entry["category"], f"emoji-{vendor}", f"emoji-{entry['unified']}"
                )


def handwritten(archive: Path) -> Iterator[Picture]:
    """Yield the first 10,000 digits of MNIST, dark on white."""
    with tarfile.open(archive) as package:
        for digit in range(10):
            content = package.extractfile(f"package/src/digits/{digit}.json")
            values = np.array(json.load(content)["data"] if content else [], dtype=np.float64)
            for position, ink in enumerate(values.reshape(-1, 28, 28)):
                yield Picture(_grey(1 - ink), str(digit), "mnist", f"mnist-{digit}-{position}")


def garments(folder: Path) -> Iterator[Picture]:
    """Yield pictures of Fashion-MNIST, dark on white; the part is that of the official split."""
    for part, file in (("train", "train"), ("test", "t10k")):
        ink, labels = (
            np.frombuffer(gzip.decompress(found.read_bytes()), np.uint8, offset=n_bytes)
            for kind, n_bytes in IDX_HEADERS.items()
            for found in sorted(folder.rglob(f"{file}-{kind}-ubyte.gz"))
        )
        pictures = zip(ink.reshape(-1, 28, 28), labels.tolist(), strict=True)
        for position, (one, label) in enumerate(islice(pictures, GARMENTS_READ[part])):
            group = f"fashion-{part}-{position}"
            yield Picture(_grey(1 - one / 255), GARMENTS[label], "fashion", group, part)


def scanned() -> Iterator[Picture]:
    """Yield the 8 x 8 digits of scikit-learn, dark on white."""
    from sklearn.datasets import load_digits

    found = load_digits()
    for position, (ink, digit) in enumerate(zip(found.images, found.target, strict=True)):
        yield Picture(_grey(1 - ink / 16, SCANNED_SIDE), str(digit), "digits", f"digits-{position}")


def glyphs(folder: Path) -> Iterator[Picture]:
    """Yield letters of Noto Sans. The label is the writing system; the group is the code point."""
    from fontTools.ttLib import TTFont

    for path in sorted(folder.rglob("NotoSans*-Regular.ttf")):
        script = path.name.removeprefix("NotoSans").removesuffix("-Regular.ttf")
        if script in SKIPPED_FONTS or "UI" in script or "Unjoined" in script:
            continue
        with TTFont(path, lazy=True) as font:
            codes = sorted(filter(_is_letter, font.getBestCmap()))
        if len(codes) < LEAST_GLYPHS:
            continue
        for code in sorted(codes, key=lambda one: order_of(f"glyph {one}"))[:GLYPHS_PER_FONT]:
            image = _rendered(path, chr(code))
            if image is not None:
                yield Picture(image, script, "glyphs", f"glyph-{code:05x}")


def words(folders: list[Path]) -> Iterator[Picture]:
    """Yield three-letter words in each Latin face of Noto. The label is the font weight, 100 to 900."""
    from fontTools.ttLib import TTFont

    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    faces = [path for folder in folders for path in folder.rglob("Noto*.ttf")]
    for path in sorted(faces, key=lambda one: one.name):
        if not LATIN.fullmatch(path.name):
            continue
        with TTFont(path, lazy=True) as font:
            weight = float(font["OS/2"].usWeightClass)
        for number in range(WORDS_PER_FONT):
            drawn = [
                order_of(f"word {path.name} {number} {letter}") % len(letters)
                for letter in range(3)
            ]
            word = "".join(letters[one] for one in drawn)
            image = _rendered(path, word)
            if image is not None:
                yield Picture(image, weight, "words", f"word-{path.stem}-{word}")


def _is_letter(code: int) -> bool:
    return code > 0x2FF and unicodedata.category(chr(code)) in ("Lo", "Ll", "Lu")


def _rendered(font: Path, text: str) -> bytes | None:
    """Return an image with a text in its centre, as large as fits; None if the font draws almost nothing."""
    from PIL import Image, ImageDraw, ImageFont

    basic = ImageFont.Layout.BASIC  # gives the same pixels with and without libraqm
    face = ImageFont.truetype(str(font), int(SIDE * 0.7), layout_engine=basic)
    left, top, right, bottom = face.getbbox(text)
    longest = max(right - left, bottom - top, 1)
    if longest > SIDE - 4:
        smaller = max(6, int(SIDE * 0.7 * (SIDE - 4) / longest))
        face = ImageFont.truetype(str(font), smaller, layout_engine=basic)
        left, top, right, bottom = face.getbbox(text)
    paper = Image.new("L", (SIDE, SIDE), 255)
    corner = ((SIDE - right + left) / 2 - left, (SIDE - bottom + top) / 2 - top)
    ImageDraw.Draw(paper).text(corner, text, font=face, fill=0)
    pixels = np.asarray(paper)
    return _grey(pixels / 255) if (pixels < 128).sum() >= 8 else None


def _drawn(image: Any) -> bytes:
    """Return a drawing as a WebP file of 64 x 64 pixels and 32 colours."""
    from PIL import Image

    small = Image.fromarray(square(image, SIDE))
    return _as_webp(small.quantize(COLOURS, dither=Image.Dither.NONE))


def _grey(light: np.ndarray, side: int | None = None) -> bytes:
    """Return values in [0, 1] as a WebP file of 16 greys, resized to `side` pixels if it is given."""
    from PIL import Image

    pixels = Image.fromarray(np.round(np.clip(light, 0, 1) * 255).astype(np.uint8))
    if side is not None:
        pixels = pixels.resize((side, side), Image.Resampling.BICUBIC)
    return _as_webp(Image.fromarray(np.round(np.asarray(pixels) / GREYS).astype(np.uint8) * GREYS))


def _as_webp(image: Any) -> bytes:
    """Return an image as lossless WebP, which takes three quarters of the bytes of a PNG."""
    written = io.BytesIO()
    image.convert("RGB").save(written, "WEBP", lossless=True)
    return written.getvalue()
