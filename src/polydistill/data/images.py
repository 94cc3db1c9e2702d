"""Safe decoding of images from bytes to RGB pixels on a white background."""

import base64
import io
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Example
from polydistill.errors import DataError, MissingExtraError, needs_extra, short

MAX_PIXELS = 2**25
"""The maximum number of pixels. It is checked before decoding, because a tiny file can decode to gigabytes."""
SHARED_BYTES, PIXEL_BYTES = 2**29, 4
"""The memory for decoded images that wait for their next reader, and that of a pixel: Pillow keeps RGB in four bytes."""
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF")
DATA_URI = re.compile(r"\s*data:[^,]*;base64\s*,", re.IGNORECASE)
URL_SAFE = str.maketrans("-_", "+/")
ORIENTATION = 0x0112
"""The EXIF tag of the orientation; `TURNS` has the transposition of each value but 1, the upright image."""
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
PNG = b"\x89PNG\r\n\x1a\n"
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
"""Chunks of a PNG with texts or a colour profile. They do not change pixels, and Pillow refuses long ones."""
PNG_ORIENTATIONS = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
"""The first bytes of texts that can contain the orientation."""
REASONS = {
    "UnidentifiedImageError": f"its format is not {', '.join(FORMATS[:-1])} or {FORMATS[-1]}",
    "DecompressionBombError": f"it is too large: at most {MAX_PIXELS:,} pixels",
}
"""Replacements of messages by the name of the error: Pillow shows a memory address and another limit."""
Pixels = NDArray[np.uint8]


class UnreadableImageError(DataError):
    """The bytes are not an image, or the image is truncated or too large."""


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Return a context in which any exception of Pillow becomes an `UnreadableImageError` about `what`.

    Pillow has no base class for the errors of damaged files: they include struct.error, KeyError and TypeError.
    """
    try:
        with without_warnings():
            yield
    except (DataError, MissingExtraError):
        raise
    except Exception as error:
        said = short(str(error).rstrip(".") or type(error).__name__, 200).strip("'\"")
        reason = REASONS.get(type(error).__name__, said)
        raise UnreadableImageError(f"{what} cannot be read: {reason}.") from error


@contextmanager
def without_warnings() -> Iterator[None]:
    """Return a context without Pillow's warnings: `MAX_PIXELS` is lower than Pillow's limit.

    Filters of warnings belong to all threads. Therefore only the main thread changes them, also for the threads that it
    has started.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        yield


def as_bytes(example: Example) -> bytes:
    """Return an image's bytes. A string must be a data URI, which represents an image in JSON.

    Raises:
        UnreadableImageError: The string is not a data URI, or its base64 text is damaged.
    """
    if isinstance(example, bytes):
        return example
    head = DATA_URI.match(example)
    if head is None:
        raise UnreadableImageError(
            f"An image must be bytes or data:image/…;base64,…, got {short(example)}."
        )
    return from_base64(example[head.end() :])


def from_base64(text: str) -> bytes:
    """Decode base64 text. White space, missing padding, percent signs and the URL-safe alphabet are accepted.

    Raises:
        UnreadableImageError: The text is damaged.
    """
    plain = "".join(unquote(text).split()).rstrip("=").translate(URL_SAFE)
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError as error:
        raise UnreadableImageError(
            f"The base64 text of an image ({short(text, 24)}, {len(text):,} characters) is damaged: {error}."
        ) from error


def read_image(example: Example) -> Any:
    """Return an RGB Pillow image.

    The image is rotated according to its EXIF orientation and composited onto a white background. Only the first
    frame is read.

    Raises:
        UnreadableImageError: The bytes have none of the `FORMATS`, are damaged, or have more than `MAX_PIXELS` pixels.
        MissingExtraError: Pillow is not installed.
    """
    with needs_extra("Reading images", "vision"):
        from PIL import Image
    content = as_bytes(example)
    with readable(f"An image of {len(content):,} bytes"):
        try:
            file = io.BytesIO(_without_texts(content, PNG_ORIENTATIONS))
            return to_rgb(Image.open(file, formats=FORMATS))
        except ValueError:  # among others: the text that can contain the orientation is too long
            return to_rgb(Image.open(io.BytesIO(_without_texts(content)), formats=FORMATS))


def to_rgb(image: Any) -> Any:
    """Return a Pillow image in RGB, rotated according to its EXIF orientation, composited onto white.

    Raises:
        UnreadableImageError: The image has no pixels, more than `MAX_PIXELS` pixels, or numbers that are not levels.
    """
    width, height = image.size
    if not 0 < width * height <= MAX_PIXELS:
        raise UnreadableImageError(
            f"An image must have 1 to {MAX_PIXELS:,} pixels, got {width:,} x {height:,}."
        )
    image.load()
    return on_white(_upright(image))


def read_or_none(example: Example) -> Any | None:
    """Return an RGB Pillow image as `read_image` does, or None if it cannot be read."""
    if isinstance(example, SharedImage):
        return example.read()
    try:
        return read_image(example)
    except UnreadableImageError:
        return None


class _Pixels:
    """The memory for pixels that wait for their next reader.

    Args:
        free: The number of bytes.
    """

    def __init__(self, free: int) -> None:
        self._free, self._lock = free, threading.Lock()

    def reserve(self, n_bytes: int) -> bool:
        """Reserve `n_bytes`, and return true, if they are free; else return false."""
        with self._lock:
            if n_bytes > self._free:
                return False
            self._free -= n_bytes
            return True

    def release(self, n_bytes: int) -> None:
        """Release reserved bytes."""
        with self._lock:
            self._free += n_bytes


class SharedImage(bytes):
    """An image that several readers decode once, if there is memory to keep the pixels until the last has read it."""

    readers: int
    memory: _Pixels
    _reads = 0
    _kept: tuple[Any, int] | None = None

    def __new__(cls, content: bytes, readers: int, memory: _Pixels) -> Self:
        """Return the image for a number of readers."""
        image = super().__new__(cls, content)
        image.readers, image.memory = readers, memory
        return image

    def read(self) -> Any | None:
        """See `read_or_none`."""
        self._reads += 1
        if self._kept is None:
            pixels = read_or_none(bytes(self))
            size = 0 if pixels is None else PIXEL_BYTES * pixels.width * pixels.height
            if self._reads < self.readers and self.memory.reserve(size):
                self._kept = pixels, size
            return pixels
        pixels, size = self._kept
        if self._reads >= self.readers:
            self._kept = None
            self.memory.release(size)
        return pixels


def share_images(examples: Sequence[Example], readers: int) -> Sequence[Example]:
    """Return the examples so that images are decoded once for this number of readers; others are unchanged."""
    if readers == 1:
        return examples
    memory = _Pixels(SHARED_BYTES)
    return [
        SharedImage(one, readers, memory) if isinstance(one, bytes) else one for one in examples
    ]


def _without_texts(content: bytes, kept: tuple[bytes, ...] = ()) -> bytes:
    """Return a PNG without the chunks `PNG_TEXTS`, except those that begin with `kept`; other formats unchanged."""
    if not content.startswith(PNG):
        return content
    chunks, start = [PNG], len(PNG)
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        if content[start + 4 : start + 8] not in PNG_TEXTS or content.startswith(kept, start + 8):
            chunks.append(content[start:end])
        start = end
    return b"".join(chunks)


def _upright(image: Any) -> Any:
    """Rotate an image according to its EXIF orientation, the only tag that is read; a damaged one counts as 1."""
    from PIL import Image

    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION))
    except Exception:  # noqa: BLE001  damaged EXIF data raise anything, and pixels do not depend on them
        turn = None
    return image if turn is None else image.transpose(Image.Transpose[turn])


def on_white(image: Any) -> Any:
    """Convert a Pillow image of any mode to RGB, composited onto a white background."""
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):  # Pillow would clip the values
        return Image.fromarray(to_levels(np.asarray(image))).convert("RGB")
    if "A" in image.mode or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def to_levels(values: NDArray[Any]) -> Pixels:
    """Convert pixels to uint8: from uint16, of which the upper 8 bits are kept, from bool, or from floats in [0, 1].

    Raises:
        UnreadableImageError: The values are of another type, or out of range.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:  # in any byte order
        return (values >> 8).astype(np.uint8)
    if values.dtype.kind in "bf" and 0 <= values.min() <= values.max() <= 1:
        return np.rint(values * 255.0).astype(np.uint8)
    span = f" from {values.min():g} to {values.max():g}" if values.dtype.kind in "iuf" else ""
    raise UnreadableImageError(
        "The pixels of an image must be uint8, uint16, bool or floats in [0, 1], got "
        f"{values.dtype}{span}."
    )


def square(image: Any, size: int) -> Pixels:
    """Pad an image to a white square, resize it bicubically, and return its pixels, `(size, size, 3)`.

    If the square would have more than `MAX_PIXELS` pixels, the image is resized first.
    """
    from PIL import Image

    bicubic, side = Image.Resampling.BICUBIC, max(image.size)
    if image.width != image.height:
        if side**2 > MAX_PIXELS:
            image = image.resize([max(1, round(one * size / side)) for one in image.size], bicubic)
            side = size
        canvas = Image.new("RGB", (side, side), "white")
        canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = canvas
    if image.width != size:
        image = image.resize((size, size), bicubic)
    return np.asarray(image)


def as_png(image: Any, *, optimize: bool = True) -> bytes:
    """Return a Pillow image as PNG. Equal pixels give equal bytes with the same version of Pillow.

    Without `optimize`, a photo is written ten times as fast and the file is larger.
    """
    written = io.BytesIO()
    image.save(written, "PNG", optimize=optimize, compress_level=1)
    return written.getvalue()
