"""Images: the bytes of a PNG, a JPEG or the first frame of a GIF."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from polydistill.contracts import Example, Rule
from polydistill.data.images import UnreadableImageError, as_png, read_image
from polydistill.data.modalities import MODALITIES
from polydistill.errors import DataError, MissingDataError

LEAST_SIDE, GREATEST_SIDE = 8, 4096
LEAST_CONTRAST = 2.0
HASH_SIDE = 16
SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")
"""How PNG, JPEG and GIF begin."""
SHOWN = 80
STEP = 6
"""Grey levels that neighbours must differ by, so that a new compression does not change the key."""


@MODALITIES.register("vision")
class VisionModality:
    """See `contracts.Modality`."""

    name = "vision"
    column = "image"
    near_similarity: float | None = None
    requirements = ("pillow",)

    def content_id(self, example: Example) -> str:
        """See `contracts.Modality.content_id`: of size and RGB pixels; unreadable bytes stand for themselves."""
        try:
            image = read_image(example)
        except UnreadableImageError:
            content = b"unreadable " + _raw(example)
        else:
            content = f"{image.width} {image.height} ".encode() + image.tobytes()
        return hashlib.sha256(content).hexdigest()[:32]

    def near_key(self, example: Example) -> str:
        """See `contracts.Modality.near_key`: which neighbours grow darker at 16 x 16, and four mean colours.

        Size and compression hardly change it. What cannot be read is its own key.
        """
        try:
            image = read_image(example)
        except UnreadableImageError:
            return example if isinstance(example, str) else hashlib.sha256(example).hexdigest()
        from PIL import Image

        box = Image.Resampling.BOX
        grey = np.asarray(image.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), box), np.int16)
        darker = np.packbits(np.diff(grey, axis=1) < -STEP).tobytes().hex()
        colours = np.asarray(image.resize((2, 2), box), np.int16) // 32
        return darker + "".join(map(str, colours.ravel()))

    def split_key(self, example: Example) -> str | None:  # noqa: ARG002
        """See `contracts.Modality.split_key`: the groups of a table are all that is known."""
        return None

    def coerce(self, value: object) -> Example:
        """See `contracts.Modality.coerce`.

        An array is `(height, width[, channels])` of uint8; others are a Pillow image, bytes, a path, a data URI or
        base64.
        """
        if isinstance(value, np.ndarray):
            return _from_array(value)
        if hasattr(value, "convert") and hasattr(
            value, "getbands"
        ):  # Pillow, which may not be installed
            return as_png(value)
        content: Example
        if isinstance(value, bytes | bytearray | memoryview):
            content = bytes(value)
        elif isinstance(value, str) and value.startswith("data:"):
            content = value
        elif isinstance(value, str | Path):
            content = _from_path(value)
        else:
            raise DataError(
                "An image must be PNG, JPEG or GIF bytes, a path or a uint8 array, got "
                f"{type(value).__name__}."
            )
        read_image(content)
        return content

    def derived(self, shown: Sequence[Sequence[Example]]) -> Mapping[str, Sequence[float]]:
        """See `contracts.Modality.derived`: of a row's images the worst, in pixels and grey levels."""
        found = [[_measures(one) for one in examples] or [(0.0,) * 4] for examples in shown]
        return {
            "decodable": [min(one[0] for one in row) for row in found],
            "shortest_side": [min(one[1] for one in row) for row in found],
            "longest_side": [max(one[2] for one in row) for row in found],
            "contrast": [min(one[3] for one in row) for row in found],
        }

    def corpus_rules(self) -> Sequence[Rule]:
        """See `contracts.Modality.corpus_rules`."""
        return _rules()

    def task_rules(self, columns: Sequence[str]) -> Sequence[Rule]:  # noqa: ARG002  whichever they are
        """See `contracts.Modality.task_rules`."""
        return _rules()


def _rules() -> tuple[Rule, ...]:
    between = "expect_column_values_to_be_between"
    return (
        Rule(
            "expect_column_values_to_be_in_set",
            {"column": "decodable", "value_set": [1.0]},
            "an image is truncated, too large, or none at all",
        ),
        Rule(
            between,
            {"column": "shortest_side", "min_value": LEAST_SIDE},
            f"an image has a side of less than {LEAST_SIDE} pixels",
        ),
        Rule(
            between,
            {"column": "longest_side", "max_value": GREATEST_SIDE},
            f"an image has a side of more than {GREATEST_SIDE} pixels",
        ),
        Rule(
            between,
            {"column": "contrast", "min_value": LEAST_CONTRAST},
            "an image is blank: all its pixels are nearly alike",
        ),
    )


def _measures(example: Example) -> tuple[float, float, float, float]:
    """Return whether it can be read, its sides, and the largest deviation of a colour."""
    try:
        image = read_image(example)
    except UnreadableImageError:
        return 0.0, 0.0, 0.0, 0.0
    contrast = float(np.asarray(image, np.float32).std(axis=(0, 1)).max())
    return 1.0, float(min(image.size)), float(max(image.size)), contrast


def _from_path(value: str | Path) -> bytes:
    """Return the file's bytes, or those that a string stands for in base64, as MLflow's JSON has them."""
    if _is_file(value):
        return Path(value).read_bytes()
    with suppress(binascii.Error, ValueError):
        content = base64.b64decode("".join(str(value).split()), validate=True)
        if content.startswith(SIGNATURES):
            return content
    said = str(value) if len(str(value)) <= SHOWN else f"{str(value)[:SHOWN]}..."
    raise MissingDataError(f"No image file {said!r}.")


def _is_file(path: str | Path) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # a name that is too long
        return False


def _from_array(values: np.ndarray) -> bytes:
    from PIL import Image

    channels = values.shape[2] if values.ndim == 3 else 1
    if values.dtype != np.uint8 or values.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise DataError(
            "An image's array must be uint8, (height, width) or (height, width, 1, 3 or 4), got "
            f"{values.dtype} {values.shape}."
        )
    if not values.size:
        raise DataError(f"An image must have pixels, got shape {values.shape}.")
    return as_png(Image.fromarray(values[..., 0] if values.ndim == 3 and channels == 1 else values))


def _raw(example: Example) -> bytes:
    return example if isinstance(example, bytes) else example.encode("utf-8", "surrogatepass")
