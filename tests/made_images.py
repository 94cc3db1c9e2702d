"""Small images, valid and invalid."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

TINY_RESNET = {
    "model_type": "resnet",
    "layer_type": "basic",
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
}
"""A configuration of transformers models that run in milliseconds.

Below eight channels a strided 1x1 convolution's gradient breaks the heap on AVX2: oneDNN #6035.
"""


def png(seed: int = 0, side: int = 32) -> bytes:
    """Return a PNG with some coloured rectangles."""
    drawn = np.random.default_rng(seed)
    pixels = np.full((side, side, 3), 255, np.uint8)
    for _ in range(4):
        top, left = drawn.integers(0, side - 8, 2)
        pixels[top : top + 8, left : left + 8] = drawn.integers(0, 256, 3)
    return written(Image.fromarray(pixels))


def written(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Return a Pillow image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def truncated() -> bytes:
    """Return the first half of a PNG."""
    whole = written(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    )
    return whole[: len(whole) // 2]


def bomb(side: int = 20_000) -> bytes:
    """Return a PNG of a few bytes that claims `side` x `side` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 99)), (b"IEND", b""))
    )


def animated() -> bytes:
    """Return a GIF whose first frame is red and whose second is blue."""
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    return written(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)


def cmyk() -> bytes:
    """Return a CMYK JPEG that is all cyan."""
    return written(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=95)


def transparent() -> bytes:
    """Return a black PNG whose left half is fully transparent."""
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, 8:, 3] = 255
    return written(Image.fromarray(pixels))
