from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polydistill.data.images import read_image
from polydistill.data.modalities.vision import VisionModality
from polydistill.errors import MissingDataError
from tests.made_images import animated, bomb, cmyk, png, transparent, truncated, written

VISION = VisionModality()


def test_equal_pixels_have_one_content_id_in_all_file_formats() -> None:
    again = written(Image.open(io.BytesIO(png(1))), compress_level=0)

    assert again != png(1)
    assert VISION.content_id(again) == VISION.content_id(png(1))
    assert VISION.content_id(png(2)) != VISION.content_id(png(1))


def test_images_of_another_size_have_another_id() -> None:
    wide, high = (written(Image.new("RGB", size, "red")) for size in ((8, 16), (16, 8)))

    assert VISION.content_id(wide) != VISION.content_id(high)


def test_another_size_and_compression_keep_the_near_key() -> None:
    pixels = np.full((128, 128, 3), 255, np.uint8)
    pixels[32:96, 32:96] = (200, 40, 40)
    image = Image.fromarray(pixels)

    keys = {
        VISION.near_key(written(one, kind))
        for one, kind in ((image, "PNG"), (image, "JPEG"), (image.resize((64, 64)), "PNG"))
    }

    assert len(keys) == 1
    assert VISION.near_key(png(1)) not in keys


@pytest.mark.parametrize("content", [truncated(), bomb(), b""])
def test_unreadable_bytes_have_ids_and_measures_that_validation_refuses(content: bytes) -> None:
    assert len(VISION.content_id(content)) == 32
    assert VISION.near_key(content)
    assert VISION.derived([[content]])["decodable"] == [0.0]


def test_unusual_but_readable_images_pass() -> None:
    derived = VISION.derived([[png(1)], [cmyk()], [animated()], [transparent()]])

    assert derived["decodable"] == [1.0] * 4
    assert derived["shortest_side"] == [32.0, 16.0, 16.0, 16.0]
    assert derived["contrast"][1] < 2.0 < derived["contrast"][0]


def test_a_row_has_the_worst_measures_of_its_images() -> None:
    derived = VISION.derived([[png(1), truncated()], []])

    assert derived["decodable"] == [0.0, 0.0]
    assert derived["longest_side"] == [32.0, 0.0]


def test_a_path_an_array_and_bytes_are_the_same_example(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(png(1))
    values = (png(1), tmp_path / "image.png", str(tmp_path / "image.png"))
    array = np.asarray(read_image(png(1)))

    names = {VISION.content_id(VISION.coerce(value)) for value in (*values, array)}

    assert len(names) == 1


@pytest.mark.parametrize("path", ["nowhere.png", "nowhere\0.png", "nowhere" * 1000])
def test_a_missing_file_is_named_in_one_line(path: str) -> None:
    with pytest.raises(MissingDataError, match="No image file 'nowhere") as refused:
        VISION.coerce(path)

    assert len(str(refused.value)) < 120
