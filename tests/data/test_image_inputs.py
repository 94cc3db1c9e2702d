"""The ways to give an image: each one is read as the same pixels, or refused with the true reason."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from polydistill.data.files import IMAGE_SUFFIXES, read_lines, read_table
from polydistill.data.image_inputs import to_example
from polydistill.data.images import FORMATS, read_image
from polydistill.data.inputs import guess_column, guess_modality
from polydistill.data.modalities.vision import VisionModality
from polydistill.errors import DataError, MissingDataError
from tests.made_images import cmyk, png, truncated, written

PIXELS = np.asarray(read_image(png(1, 40)))[:, :32]  # 40 x 32
IMAGE = Image.fromarray(PIXELS)
BYTES = written(IMAGE)
BASE64 = base64.b64encode(BYTES).decode()
LOSSLESS: dict[str, dict[str, object]] = {
    "PNG": {"compress_level": 0},
    "GIF": {},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_lzw"},
    "BMP": {},
}

WAYS: dict[str, Callable[[], Any]] = {
    "bytes": lambda: BYTES,
    "bytearray": lambda: bytearray(BYTES),
    "memoryview": lambda: memoryview(BYTES),
    "numpy bytes": lambda: np.array([BYTES], dtype=object)[0],
    "BytesIO": lambda: io.BytesIO(BYTES),
    "BytesIO at its end": lambda: Image.open(io.BytesIO(BYTES)).fp,
    "Pillow": lambda: IMAGE,
    "Pillow file": lambda: Image.open(io.BytesIO(BYTES)),
    "Pillow RGBA": lambda: IMAGE.convert("RGBA"),
    "array": lambda: PIXELS,
    "array, channels first": lambda: PIXELS.transpose(2, 0, 1),
    "array of float32": lambda: PIXELS.astype(np.float32) / 255,
    "array of float16": lambda: (PIXELS / 255).astype(np.float16),
    "array of uint16": lambda: PIXELS.astype(np.uint16) * 257,
    "array in Fortran order": lambda: np.asfortranarray(PIXELS),
    "tensor": lambda: torch.from_numpy(PIXELS.copy()),
    "tensor, channels first, in [0, 1]": lambda: (
        torch.from_numpy(PIXELS.copy()).permute(2, 0, 1) / 255
    ),
    "tensor with gradients": (torch.from_numpy(PIXELS.copy()) / 255).requires_grad_,
    "mapping of bytes": lambda: {"bytes": BYTES, "path": "nowhere.png"},
    "data URI": lambda: f"data:image/png;base64,{BASE64}",
    "capital data URI": lambda: f"DATA:IMAGE/PNG;charset=utf-8;BASE64,{BASE64}",
    "quoted data URI": lambda: "data:;base64," + BASE64.replace("+", "%2B").replace("=", "%3D"),
    "base64": lambda: BASE64,
    "unpadded base64": lambda: BASE64.rstrip("="),
    "URL-safe base64": lambda: base64.urlsafe_b64encode(BYTES).decode(),
    "base64 in lines": lambda: base64.encodebytes(BYTES).decode(),
    **{kind: partial(written, IMAGE, kind, **options) for kind, options in LOSSLESS.items()},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_pixels_and_content_id(way: str) -> None:
    vision = VisionModality()

    example = vision.coerce(WAYS[way]())

    np.testing.assert_array_equal(np.asarray(read_image(example)), PIXELS)
    assert vision.content_id(example) == vision.content_id(BYTES)
    assert vision.coerce(example) == example


@pytest.mark.parametrize(
    "write",
    [
        "{folder}/a b.png",
        " {folder}/a b.png\r",
        "\ufeff{folder}/a b.png",
        "file://{folder}/a%20b.png",
        "FILE://localhost{folder}/a b.png",
        "~/a b.png",
    ],
)
def test_a_path_can_be_written_as_shells_browsers_and_editors_write_it(
    write: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a b.png").write_bytes(BYTES)
    path = write.format(folder=tmp_path)

    assert to_example(path) == to_example({"bytes": None, "path": path}) == BYTES


def test_a_list_of_paths_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(BYTES)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.png\n", encoding="utf-8-sig")

    assert [to_example(line) for line in read_lines(tmp_path / "list.txt")] == [BYTES]


def test_a_folder_of_images_has_all_formats(tmp_path: Path) -> None:
    for suffix in IMAGE_SUFFIXES:
        IMAGE.save(tmp_path / f"image{suffix}")

    examples = [bytes(one) for one in read_table(tmp_path)["image"]]

    assert {Image.open(io.BytesIO(one)).format for one in examples} == set(FORMATS)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
def test_pillow_images_of_every_mode_are_read(mode: str) -> None:
    image = Image.new(mode, (9, 8), 1)

    assert read_image(to_example(image)).size == (9, 8)


def test_a_pillow_image_is_turned_upright_as_its_file_is() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    content = written(IMAGE, "PNG", exif=exif)

    example = to_example(Image.open(io.BytesIO(content)))

    assert read_image(example).size == (40, 32)
    assert read_image(example).tobytes() == read_image(content).tobytes()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"got None \(NoneType\)"),
        (float("nan"), r"got nan \(float\)"),
        (np.float64(1), r"\(float64\)"),
        ([[1, 2]], r"\(list\)"),
        ({"pixels": b""}, "`bytes` or `path`, got {'pixels'"),
        ({"bytes": None, "path": None}, "`bytes` or `path`"),
        (io.StringIO("text"), "binary mode"),
        (np.zeros((4, 4), np.int64), "must be uint8, .* got int64 from 0 to 0"),
        (np.full((4, 4), 255.0), r"floats in \[0, 1\], got float64 from 255 to 255"),
        (np.full((4, 4), np.nan), "got float64 from nan"),
        (np.array([["a"]]), "got <U1"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"got \(2, 4, 4, 3\)"),
        (np.zeros((5, 5, 2), np.uint8), r"got \(5, 5, 2\)"),
        (np.zeros((0, 4), np.uint8), "must have pixels"),
        (Image.new("RGB", (0, 4)), "must have 1 to"),
        (Image.new("I", (4, 4), 70_000), "from 70000 to 70000"),
        (Image.open(io.BytesIO(truncated())), "A Pillow image cannot be read"),
        (truncated(), "cannot be read: "),
        (b"no image", "its format is not PNG"),
        (cmyk()[:40], "cannot be read"),
        ("https://example.org/a.png", "download it first"),
        ("data:image/svg+xml;utf8,<svg>", "must be bytes or data:image"),
        ("aGVsbG8=", "No image file 'aGVsbG8='"),
        ("", "No image file ''"),
        (BASE64[:45], "base64 text of an image .* is damaged"),
        (BASE64[:44], "An image of 33 bytes cannot be read"),
        (BASE64[:30] + "é" + BASE64[31:], "damaged"),
        (base64.b64encode(b"<svg xmlns=''></svg>").decode(), "its format is not PNG"),
        (base64.b64encode(bytes(3) + b"\x1cftypheic" + bytes(90)).decode(), "its format is not"),
    ],
)
def test_what_is_no_image_is_refused_with_the_true_reason(value: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        to_example(value)

    assert len(str(refused.value)) < 300


def test_a_folder_is_not_an_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        to_example(tmp_path)


@given(
    st.sampled_from(FORMATS),
    st.integers(0, 3),
    st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]),
)
def test_base64_of_an_image_is_never_taken_for_a_path(
    kind: str, cut: int, encode: Callable[[bytes], bytes]
) -> None:
    text = encode(written(IMAGE, kind)).decode()

    try:
        to_example(text[: len(text) - cut])
    except MissingDataError:
        pytest.fail("taken for a path")
    except DataError:
        assert cut


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["bytes", "path", "x"]), inner)
        ),
    )
)
def test_any_other_value_is_refused_with_a_short_message(value: object) -> None:
    with pytest.raises(DataError) as refused:
        to_example(value)

    assert len(str(refused.value)) < 300


def test_a_column_of_mappings_or_data_uris_is_recognised() -> None:
    frame = pd.DataFrame({"label": ["cat"], "image": [{"bytes": BYTES, "path": None}]})

    assert guess_column(frame, VisionModality()) == "image"
    assert guess_modality(frame["image"].tolist()) == "vision"
    assert guess_modality([f"data:image/png;base64,{BASE64}"]) == "vision"
