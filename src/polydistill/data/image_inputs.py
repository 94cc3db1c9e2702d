"""Conversion of a user's value to the bytes of an image: paths, arrays, tensors, Pillow images, base64 text."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from polydistill.contracts import Example
from polydistill.data.images import (
    UnreadableImageError,
    as_png,
    from_base64,
    read_image,
    readable,
    to_levels,
    to_rgb,
)
from polydistill.errors import DataError, MissingDataError, needs_extra, short

SIGNATURE = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|II[*+]\0|MM\0[*+]|BM....\0\0\0\0|....ftyp|<svg|<\?xml",
    re.DOTALL,
)
"""The first bytes of image files, among them formats that cannot be read, so that an error names the true reason."""
CHANNELS = (1, 3, 4)


def to_example(value: object) -> Example:
    """Return the bytes of an image in one of `images.FORMATS`; a data URI is returned unchanged.

    Args:
        value: Bytes; a path, `~/path` or `file://` URI; a data URI or base64 text; an open binary file; a mapping with
            the key `bytes` or `path`, as the library datasets has; a Pillow image; or an array or tensor
            `(height, width)`, `(height, width, channels)` or `(channels, height, width)` with 1, 3 or 4 channels,
            of uint8, uint16, bool, or floats in [0, 1].

    Raises:
        DataError: The value is none of these, or is not a readable image. Messages are short.
        MissingDataError: There is no such file.
        MissingExtraError: Pillow is not installed.
    """
    content = _content(value)
    read_image(content)
    return content


def _content(value: Any) -> Example:
    if isinstance(value, Mapping):
        return _from_mapping(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str | os.PathLike):
        return _from_text(os.fsdecode(value))
    # The types of optional libraries are recognised by their attributes.
    if hasattr(value, "convert") and hasattr(value, "getbands"):
        with readable("A Pillow image"):
            return _from_array(np.asarray(to_rgb(value)))
    if hasattr(value, "read"):
        return _from_file(value)
    if hasattr(value, "__array__") and not np.isscalar(value):
        return _from_array(_as_array(value))
    raise DataError(
        "An image must be bytes, a path, base64 text, a Pillow image, an array or a tensor, got "
        f"{short(value)} ({type(value).__name__})."
    )


def _from_mapping(value: Mapping[str, Any]) -> Example:
    found = [value[key] for key in ("bytes", "path") if value.get(key) is not None]
    if not found or isinstance(found[0], Mapping):
        raise DataError(f"An image's mapping must have `bytes` or `path`, got {short(value)}.")
    return _content(found[0])


def _from_file(file: Any) -> bytes:
    if file.seekable():
        file.seek(0)
    content = file.read()
    if not isinstance(content, bytes):
        raise DataError("The file of an image must be open in binary mode: open(path, 'rb').")
    return content


def _as_array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a tensor
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value  # NumPy has no bfloat16
    return np.asarray(value)


def _from_text(value: str) -> Example:
    """Return a data URI unchanged, the bytes of a file, or those that base64 text represents."""
    text = value.strip().lstrip("\ufeff")
    if text[:5].lower() == "data:":
        return text
    for path in _paths(value, text):
        # Unlike the methods of `Path`, these functions accept names that are too long.
        if os.path.isfile(path) or os.path.isdir(path):  # noqa: PTH112, PTH113
            try:
                return Path(path).read_bytes()
            except OSError as error:
                raise DataError(f"{short(path)} cannot be read: {error.strerror}.") from error
    if _begins_as_base64(text):
        return from_base64(text)
    if re.match(r"(?!file:)\w+://", text, re.IGNORECASE):
        raise MissingDataError(f"{short(text)} is not a local file: download it first.")
    raise MissingDataError(f"No image file {short(value)}.")


def _begins_as_base64(text: str) -> bool:
    try:
        head = from_base64("".join(text[:24].split())[:16])
    except UnreadableImageError:
        return False
    return SIGNATURE.match(head) is not None


def _paths(value: str, text: str) -> Iterator[str]:
    """Return the paths that a string can mean, as given and as a shell or a browser writes it."""
    yield value
    if text[:5].lower() == "file:":
        yield unquote(urlsplit(text).path)
    elif text:
        yield os.path.expanduser(text)  # noqa: PTH111  `Path.expanduser` raises an error without a home


def _from_array(values: np.ndarray) -> bytes:
    with needs_extra("Reading images", "vision"):
        from PIL import Image
    if values.ndim == 3 and values.shape[2] not in CHANNELS and values.shape[0] in CHANNELS:
        values = values.transpose(1, 2, 0)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in CHANNELS):
        raise DataError(
            "An image's array must have shape (height, width), or (height, width, channels) or "
            f"(channels, height, width) with 1, 3 or 4 channels, got {values.shape}."
        )
    if not values.size:
        raise DataError(f"An image must have pixels, got shape {values.shape}.")
    levels = np.ascontiguousarray(to_levels(values))
    return as_png(
        Image.fromarray(levels[..., 0] if levels.shape[2:] == (1,) else levels), optimize=False
    )
