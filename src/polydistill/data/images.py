"""Reading images safely: bytes in, RGB pixels on white out, or a reason why not."""

from __future__ import annotations

import base64
import binascii
import io
import struct
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Example
from polydistill.errors import DataError, MissingExtraError

MAX_PIXELS = 2**25
"""Larger images are refused before their pixels are decoded: a bomb of a few bytes asks for gigabytes."""
FORMATS = ("PNG", "JPEG", "GIF")
DATA_URI = "data:image/"
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error)
"""What Pillow raises of bytes that are no image, or half of one."""
Pixels = NDArray[np.uint8]


class UnreadableImageError(DataError):
    """Bytes that are no image, half of one, or too large a one."""


def as_bytes(example: Example) -> bytes:
    """Return an image's bytes; a string must be a data URI, as JSON carries images.

    Raises:
        UnreadableImageError: It is another string.
    """
    if isinstance(example, bytes):
        return example
    head, _, body = example.partition(",")
    if not head.startswith(DATA_URI) or not head.endswith(";base64"):
        raise UnreadableImageError(
            f"An image must be bytes or {DATA_URI}…;base64,…, got {example[:40]!r}."
        )
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise UnreadableImageError(f"An image's data URI is damaged: {error}.") from error


def read_image(example: Example) -> Any:
    """Return an RGB Pillow image: upright, on white where it is transparent, the first frame of several.

    Raises:
        UnreadableImageError: It is no PNG, JPEG or GIF, is damaged, or has more than `MAX_PIXELS`.
        MissingExtraError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise MissingExtraError("Reading images", "vision") from error
    content = as_bytes(example)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is lower
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        _require_few_pixels(*image.size)
        image.load()
        return on_white(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        said = str(error).rstrip(".")
        raise UnreadableImageError(f"An image is too large: {said}.") from error
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:  # its own message has a memory address
        raise UnreadableImageError(
            f"An image of {len(content):,} bytes cannot be read: it is no {', '.join(FORMATS)}."
        ) from error
    except BROKEN as error:
        raise UnreadableImageError(
            f"An image of {len(content):,} bytes cannot be read: {str(error).rstrip('.')}."
        ) from error


def _require_few_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            f"An image must have at most {MAX_PIXELS:,} pixels, got {width:,} x {height:,}."
        )


def on_white(image: Any) -> Any:
    """Return a Pillow image of any mode as RGB; what is transparent shows white."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits a pixel: Pillow would clip them
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8)).convert(
            "RGB"
        )
    if "A" in image.mode or "transparency" in image.info:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    return image.convert("RGB")


def square(image: Any, size: int) -> Pixels:
    """Return `(size, size, 3)`: the image in the middle of a white square, resized bicubically."""
    from PIL import Image

    if image.width != image.height:
        side = max(image.size)
        paper = Image.new("RGB", (side, side), "white")
        paper.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = paper
    if image.width != size:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def as_png(image: Any) -> bytes:
    """Return a Pillow image as PNG: the same pixels, the same bytes with the same Pillow."""
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()
