from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from polydistill.data.images import UnreadableImageError
from polydistill.errors import ParamsError
from polydistill.students import encode, image_encoder, load_student
from polydistill.students.image_encoder import Augmentation, ImageEncoderStudent
from tests.made_images import TINY_RESNET, png, truncated, written

VIT = {
    "model_type": "vit",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 32,
    "patch_size": 8,
}
PVT = {
    "model_type": "pvt_v2",
    "image_size": {"height": 32, "width": 32},
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 1, 2, 2],
}
IMAGES = [png(seed) for seed in range(5)]


def build(encoder: dict[str, object], **options: Mapping[str, float]) -> ImageEncoderStudent:
    return ImageEncoderStudent.build(
        IMAGES, torch.Generator().manual_seed(0), encoder=encoder, size=32, dim=6, **options
    )


@pytest.mark.parametrize("encoder", [TINY_RESNET, VIT, PVT], ids=["resnet", "vit", "pvt_v2"])
def test_each_kind_embeds_in_order_and_can_be_saved(
    encoder: dict[str, object], tmp_path: Path
) -> None:
    student = build(encoder)

    values = encode(student, IMAGES, batch_size=2)
    for place in ("first", "second"):
        build(encoder).save(tmp_path / place)

    assert values.shape == (5, 6)
    np.testing.assert_allclose(encode(student, IMAGES[::-1])[::-1], values, atol=1e-5)
    assert np.abs(values[0] - values[1]).max() > 1e-4
    np.testing.assert_array_equal(
        encode(load_student(tmp_path / "first"), IMAGES), values_of(encoder)
    )
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()
        assert path.suffix in {".json", ".safetensors"}


def values_of(encoder: dict[str, object]) -> np.ndarray:
    return encode(build(encoder), IMAGES)


def test_the_student_of_the_paper_has_the_published_size() -> None:
    student = ImageEncoderStudent.build(
        [], torch.Generator(), encoder={"model_type": "pvt_v2"}, size=64, dim=256
    )

    module: Any = student.module
    encoder = sum(weight.numel() for weight in module.encoder.parameters())
    assert 3.3e6 < encoder < 3.8e6  # PVTv2-b0 has 3.7M parameters with its classifier


@pytest.mark.parametrize("size", [32, 96, 160])
def test_images_of_any_size_and_format_are_embedded_at_the_size_of_the_setting(size: int) -> None:
    photos = [
        written(Image.effect_mandelbrot((width, height), (-2, -1.5, 1, 1.5), 60 + width), kind)
        for width, height, kind in ((300, 224, "JPEG"), (180, 410, "PNG"), (16, 16, "PNG"))
    ]
    student = ImageEncoderStudent.build(
        [], torch.Generator().manual_seed(0), encoder=TINY_RESNET, size=size, dim=6
    )

    pixels = student.collate(photos)["pixels"]
    values = encode(student, photos)

    assert pixels.shape == (3, 3, size, size)
    assert pixels.dtype == torch.uint8
    assert values.shape == (3, 6)
    assert np.isfinite(values).all()


def test_large_images_are_embedded_in_small_batches_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    student = build(TINY_RESNET)
    student.module.eval()
    features = student.collate(IMAGES)
    sizes = list[int]()
    student.module.register_forward_pre_hook(lambda _, pixels: sizes.append(len(pixels[0])))

    with torch.inference_mode():
        whole = student.forward(features)
        monkeypatch.setattr(image_encoder, "PIXELS_AT_ONCE", 2 * 32 * 32)
        parts = student.forward(features)
        monkeypatch.setattr(image_encoder, "PIXELS_AT_ONCE", 1)
        single = student.forward(features)

    assert sizes == [5, 2, 2, 1, 1, 1, 1, 1, 1]
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(single, whole, rtol=1e-5, atol=1e-6)


def test_an_encoder_with_positions_takes_its_image_size_from_the_student() -> None:
    without = {name: value for name, value in VIT.items() if name != "image_size"}

    assert encode(build(without), IMAGES).shape == (5, 6)
    with pytest.raises(ParamsError, match=r"student\.encoder is not .* images of 32 x 32 pixels"):
        build({**VIT, "image_size": 48})


def test_an_unreadable_image_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match="cannot be read"):
        build(TINY_RESNET).collate([png(1), truncated()])


def test_an_unknown_encoder_and_option_are_refused() -> None:
    with pytest.raises(ParamsError, match=r"student\.encoder"):
        build({"model_type": "resnest"})
    with pytest.raises(ParamsError, match=r"augmentation\.colour must be in"):
        build(TINY_RESNET, augmentation={"colour": 2.0})


def test_augmentation_is_applied_in_training_only_and_depends_on_the_seed() -> None:
    student = build(
        TINY_RESNET, augmentation={"zoom": 0.2, "shift": 0.1, "flip": 0.5, "colour": 0.3}
    )
    pixels = student.onnx_inputs(IMAGES)["pixels"]
    module: Any = student.module
    augment = module.augmentation

    augment.train()
    torch.manual_seed(1)
    first = augment(pixels)
    second = augment(pixels)
    torch.manual_seed(1)
    again = augment(pixels)

    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert (first - second).abs().max() > 0.05
    assert first.shape == pixels.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert augment.eval()(pixels) is pixels


def test_a_shift_fills_with_white() -> None:
    black = torch.zeros(8, 3, 16, 16)
    torch.manual_seed(0)

    moved = Augmentation(shift=0.5).train()(black)

    assert moved.max() == 1
    assert moved.min() == 0
