from __future__ import annotations

import base64
import struct
import tracemalloc
import zlib
from contextlib import suppress
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from polydistill.data.images import FORMATS, UnreadableImageError, read_image, square
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
        ("data:image/png;base64,é", "damaged"),
        (written(Image.new("RGB", (9, 9)), "ICO"), "its format is not PNG, .* or AVIF"),
        (written(Image.fromarray(np.full((9, 9), 2, np.float32)), "TIFF"), "from 2 to 2"),
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


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8))
ODD_TAGS = st.tuples(
    # resolution, maker, dates, links to other directories, and any other tag after the orientation
    st.sampled_from([0x11A, 0x11B, 0x128, 0x132, 0x8769, 0x8825, 0x927C, 0xA005])
    | st.integers(0x113, 0xFFFF),
    st.integers(0, 20),  # types: 1 to 13 and 16 to 18 exist
    st.sampled_from([0, 1, 2, 3, 100, 2**32 - 1]),
    st.sampled_from([b"72\0\0", bytes(4), b"\xff" * 4]) | st.binary(min_size=4, max_size=4),
)


def exif(orientation: int, odd: list[tuple[int, int, int, bytes]], order: str) -> bytes:
    """Return EXIF data: the orientation, then tags whose type and number of values need not fit."""
    tags = [(0x112, 3, 1, struct.pack(order + "H", orientation) + b"\0\0"), *odd]
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, len(tags))
    entries = (struct.pack(order + "HHI", *tag[:3]) + tag[3] for tag in tags)
    return b"Exif\0\0" + head + b"".join(entries) + bytes(4)


@given(
    st.sampled_from(["JPEG", "PNG", "WEBP"]),
    st.integers(0, 9),
    st.lists(ODD_TAGS, max_size=4),
    st.sampled_from("<>"),
)
def test_odd_exif_tags_do_not_change_the_upright_image(
    kind: str, orientation: int, odd: list[tuple[int, int, int, bytes]], order: str
) -> None:
    plain = read_image(written(NOISE, kind))

    image = read_image(written(NOISE, kind, exif=exif(orientation, odd, order)))

    turns = {3: 2, 6: 3, 8: 1}
    if orientation not in {2, 4, 5, 7}:  # no mirror
        turned = np.rot90(np.asarray(plain), turns.get(orientation, 0))
        np.testing.assert_array_equal(np.asarray(image), turned)


@given(st.binary(max_size=40), st.sampled_from(["JPEG", "PNG", "WEBP"]))
def test_exif_data_that_are_no_directory_count_as_upright(data: bytes, kind: str) -> None:
    assert read_image(written(NOISE, kind, exif=b"Exif\0\0" + data)).size == NOISE.size


WHOLE = {kind: written(NOISE, kind) for kind in FORMATS}


@given(
    st.sampled_from(FORMATS),
    st.integers(1, 2000),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 7)), max_size=5),
)
def test_damaged_files_are_read_or_refused_by_name(
    kind: str, length: int, flips: list[tuple[int, int]]
) -> None:
    content = bytearray(WHOLE[kind][:length])
    for at, bit in flips:
        content[at % len(content)] ^= 1 << bit

    with suppress(UnreadableImageError):
        assert read_image(bytes(content)).mode == "RGB"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@cache
def deflated(size: int) -> bytes:
    return zlib.compress(bytes(size))


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        (b"zTXt", b"workflow\0\0"),
        (b"zTXt", b"Raw profile type exif\0\0"),
        (b"iTXt", b"prompt\0\1\0\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"),
        (b"iCCP", b"profile\0\0"),
    ],
)
@pytest.mark.parametrize("size", [2**21, 2**26])
@pytest.mark.parametrize("at", [33, -12])  # after the header, before the end
def test_long_compressed_texts_of_a_png_are_neither_read_nor_inflated(
    kind: bytes, head: bytes, size: int, at: int
) -> None:
    whole = written(NOISE)
    content = whole[:at] + chunk(kind, head + deflated(size)) + whole[at:]

    tracemalloc.start()
    pixels = read_image(content).tobytes()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert pixels == NOISE.tobytes()
    assert peak < 20 * 2**20


def test_a_long_text_does_not_hide_the_orientation() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * 2**21, zip=True)
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>', zip=True)

    assert read_image(written(NOISE, pnginfo=info)).size == NOISE.size[::-1]


@pytest.mark.parametrize("size", [(1, 200_000), (200_000, 1), (1_080, 30_000), (30_000, 1_080)])
def test_long_images_are_scaled_before_they_are_padded(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = read_image(written(Image.new("L", size)))
    made: list[tuple[int, int]] = []
    new = Image.new

    def counted(mode: str, size: tuple[int, int], colour: str) -> Image.Image:
        made.append(size)
        return new(mode, size, colour)

    monkeypatch.setattr(Image, "new", counted)

    pixels = square(image, 64)

    assert made == [(64, 64)]
    black = (pixels == 0).all(axis=2)
    assert black.sum() == 64 * max(1, round(64 * min(size) / max(size)))
    assert black[31:33, 31:33].any()


@pytest.mark.parametrize("size", [(640, 480), (30, 1_000), (5_000, 40)])
def test_ordinary_images_are_padded_before_they_are_scaled(size: tuple[int, int]) -> None:
    image = Image.effect_noise(size, 50).convert("RGB")
    canvas = Image.new("RGB", (max(size),) * 2, "white")
    canvas.paste(image, ((max(size) - size[0]) // 2, (max(size) - size[1]) // 2))

    expected = np.asarray(canvas.resize((64, 64), Image.Resampling.BICUBIC))

    np.testing.assert_array_equal(square(image, 64), expected)
