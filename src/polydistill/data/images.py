"""Safe decoding of images from bytes to RGB pixels on a white background."""

import base64
import binascii
import io
import struct
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Example
from polydistill.errors import DataError, needs_extra, short

MAX_PIXELS = 2**25
"""The maximum number of pixels. It is checked before decoding, because a tiny file can decode to gigabytes."""
FORMATS = ("PNG", "JPEG", "GIF")
DATA_URI = "data:image/"
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error)
"""Errors that Pillow raises for truncated images and for bytes that are not an image."""
Pixels = NDArray[np.uint8]


class UnreadableImageError(DataError):
    """The bytes are not an image, or the image is truncated or too large."""


def as_bytes(example: Example) -> bytes:
    """Return an image's bytes. A string must be a data URI, which represents an image in JSON.

    Raises:
        UnreadableImageError: The string is not a data URI.
    """
    if isinstance(example, bytes):
        return example
    head, _, body = example.partition(",")
    if not head.startswith(DATA_URI) or not head.endswith(";base64"):
        raise UnreadableImageError(
            f"An image must be bytes or {DATA_URI}…;base64,…, got {short(example)}."
        )
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise UnreadableImageError(f"An image's data URI is damaged: {error}.") from error


def read_image(example: Example) -> Any:
    """Return an RGB Pillow image.

    The image is rotated according to its EXIF orientation and composited onto a white background. Only the first
    frame is read.

    Raises:
        UnreadableImageError: The bytes are not a PNG, JPEG or GIF, are damaged, or have more than `MAX_PIXELS` pixels.
        MissingExtraError: Pillow is not installed.
    """
    with needs_extra("Reading images", "vision"):
        from PIL import Image, ImageOps, UnidentifiedImageError
    content = as_bytes(example)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is lower
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        _require_few_pixels(*image.size)
        image.load()
        return on_white(ImageOps.exif_transpose(image))
    except UnreadableImageError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"An image is too large: {str(error).rstrip('.')}.") from error
    except BROKEN as error:
        is_other = isinstance(error, UnidentifiedImageError)  # its message has a memory address
        reason = f"its format is not {' or '.join(FORMATS)}" if is_other else str(error).rstrip(".")
        raise UnreadableImageError(
            f"An image of {len(content):,} bytes cannot be read: {reason}."
        ) from error


def _require_few_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            f"An image must have at most {MAX_PIXELS:,} pixels, got {width:,} x {height:,}."
        )


def read_or_none(example: Example) -> Any | None:
    """Return an RGB Pillow image as `read_image` does, or None if it cannot be read."""
    try:
        return read_image(example)
    except UnreadableImageError:
        return None


def on_white(image: Any) -> Any:
    """Convert a Pillow image of any mode to RGB, composited onto a white background."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16-bit grey: Pillow would clip the values
        grey = (np.asarray(image).astype(np.int64) >> 8).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if "A" in image.mode or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def square(image: Any, size: int) -> Pixels:
    """Pad an image to a white square, resize it bicubically, and return its pixels, `(size, size, 3)`."""
    from PIL import Image

    if image.width != image.height:
        side = max(image.size)
        canvas = Image.new("RGB", (side, side), "white")
        canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = canvas
    if image.width != size:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def as_png(image: Any) -> bytes:
    """Return a Pillow image as PNG. Equal pixels give equal bytes with the same version of Pillow."""
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()
