"""Images: the bytes of a file in one of `images.FORMATS`; the first frame is used."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from polydistill.contracts import Example, Rule
from polydistill.data.image_inputs import to_example
from polydistill.data.images import read_or_none
from polydistill.data.modalities import MODALITIES, between, in_set

LEAST_SIDE, GREATEST_SIDE = 8, 4096
LEAST_CONTRAST = 2.0
HASH_SIDE = 16
STEP = 6
"""Smaller differences between neighbouring grey levels are ignored, so that compression does not change the key."""


@MODALITIES.register("vision")
class VisionModality:
    """See `contracts.Modality`."""

    name = "vision"
    column = "image"
    near_similarity: float | None = None
    requirements = ("pillow",)

    def content_id(self, example: Example) -> str:
        """See `contracts.Modality.content_id`: the hash of size and RGB pixels; of the bytes if unreadable."""
        image = read_or_none(example)
        if image is None:
            raw = example if isinstance(example, bytes) else example.encode(errors="surrogatepass")
            content = b"unreadable " + raw
        else:
            content = f"{image.width} {image.height} ".encode() + image.tobytes()
        return hashlib.sha256(content).hexdigest()[:32]

    def near_key(self, example: Example) -> str:
        """See `contracts.Modality.near_key`: the signs of grey-level differences at 16 x 16, and four mean colours.

        Image size and compression hardly change the key. The key of an unreadable image is its data URI or the hash of
        its bytes.
        """
        image = read_or_none(example)
        if image is None:
            return example if isinstance(example, str) else hashlib.sha256(example).hexdigest()
        from PIL import Image

        box = Image.Resampling.BOX
        grey = np.asarray(image.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), box), np.int16)
        darker = np.packbits(np.diff(grey, axis=1) < -STEP).tobytes().hex()
        colours = np.asarray(image.resize((2, 2), box), np.int16) // 32
        return darker + "".join(map(str, colours.ravel()))

    def split_key(self, example: Example) -> str | None:  # noqa: ARG002
        """See `contracts.Modality.split_key`: images have none."""
        return None

    def coerce(self, value: object) -> Example:
        """See `contracts.Modality.coerce`.

        `image_inputs.to_example` lists the values.
        """
        return to_example(value)

    def canonical(self, example: Example) -> Example:
        """See `contracts.Modality.canonical`: an image is decoded where it is used."""
        return example

    def derived(self, shown: Sequence[Sequence[Example]]) -> Mapping[str, Sequence[float]]:
        """See `contracts.Modality.derived`: measures of the worst image of each row, in pixels and grey levels."""
        found = [[_measures(one) for one in examples] or [(0.0,) * 4] for examples in shown]
        return {
            "decodable": [min(one[0] for one in row) for row in found],
            "shortest_side": [min(one[1] for one in row) for row in found],
            "longest_side": [max(one[2] for one in row) for row in found],
            "contrast": [min(one[3] for one in row) for row in found],
        }

    def corpus_rules(self) -> Sequence[Rule]:
        """See `contracts.Modality.corpus_rules`."""
        broken = "an image cannot be decoded: it is truncated, too large or not an image"
        small = f"an image has a side of less than {LEAST_SIDE} pixels"
        large = f"an image has a side of more than {GREATEST_SIDE} pixels"
        blank = "an image is blank: its pixels are nearly equal"
        return (
            in_set("decodable", [1.0], broken),
            between("shortest_side", small, min_value=LEAST_SIDE),
            between("longest_side", large, max_value=GREATEST_SIDE),
            between("contrast", blank, min_value=LEAST_CONTRAST),
        )

    def task_rules(self, columns: Sequence[str]) -> Sequence[Rule]:  # noqa: ARG002
        """See `contracts.Modality.task_rules`."""
        return self.corpus_rules()


def _measures(example: Example) -> tuple[float, float, float, float]:
    """Return whether an image can be read (1 or 0), its shorter and longer side, and its contrast.

    The contrast is the largest standard deviation of a colour channel.
    """
    image = read_or_none(example)
    if image is None:
        return 0.0, 0.0, 0.0, 0.0
    contrast = float(np.asarray(image, np.float32).std(axis=(0, 1)).max())
    return 1.0, float(min(image.size)), float(max(image.size)), contrast
