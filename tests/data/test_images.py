from __future__ import annotations

import base64

import numpy as np
import pytest
from PIL import Image

from polydistill.data.images import UnreadableImageError, read_image, square
from tests.made_images import animated, bomb, cmyk, png, transparent, truncated, written


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (truncated(), "cannot be read"),
        (bomb(), "20,000 x 20,000|too large"),
        (b"", "cannot be read"),
        (b"no image at all", "cannot be read"),
        ("no image at all", "must be bytes or data:image/"),
        ("data:image/png;base64,%%%", "damaged"),
        (written(Image.new("RGB", (9, 9)), "BMP"), "cannot be read"),
    ],
)
def test_an_unreadable_image_is_named(content: str | bytes, message: str) -> None:
    with pytest.raises(UnreadableImageError, match=message):
        read_image(content)


def test_a_large_image_below_the_limit_of_pillow_is_refused_before_decoding() -> None:
    with pytest.raises(UnreadableImageError, match="33,554,432 pixels, got 6,000 x 6,000"):
        read_image(bomb(6_000))


def test_the_first_frame_of_an_animation_is_used() -> None:
    assert read_image(animated()).getpixel((0, 0)) == (255, 0, 0)


def test_cmyk_images_become_rgb() -> None:
    image = read_image(cmyk())

    assert image.mode == "RGB"
    red, green, blue = image.getpixel((0, 0))
    assert red < 60
    assert min(green, blue) > 150


def test_transparent_pixels_become_white() -> None:
    pixels = np.asarray(read_image(transparent()))

    assert (pixels[:, :8] == 255).all()
    assert (pixels[:, 8:] == 0).all()


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    grey = np.full((16, 16), 128 * 256, np.uint16)

    assert read_image(written(Image.fromarray(grey))).getpixel((0, 0)) == (128, 128, 128)


def test_a_data_uri_is_read_as_its_image() -> None:
    uri = "data:image/png;base64," + base64.b64encode(png(1)).decode()

    assert read_image(uri).tobytes() == read_image(png(1)).tobytes()


def test_a_wide_image_is_centred_on_white() -> None:
    pixels = square(Image.new("RGB", (32, 16), "black"), 32)

    assert (pixels[:8] == 255).all()
    assert (pixels[8:24] == 0).all()
    assert (pixels[24:] == 255).all()
