"""How teachers of images handle good and damaged images, and what each one encodes."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from polydistill.contracts import Teacher
from polydistill.errors import DataError, UnknownNameError
from polydistill.teachers import TEACHERS
from tests.made_images import animated, bomb, cmyk, png, transparent, truncated, written

GOOD = [png(1), cmyk(), animated(), transparent(), png(2), png(1)]
BAD = [truncated(), bomb(), b""]
FAMILIES = ("hog-colour", "onnx-image", "efficientnet-lite", "transformers-image")


def onnx_file(folder: Path) -> str:
    """Write a graph: the mean over positions of each channel, then a softmax."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["pooled"], axes=[2, 3], keepdims=0),
        helper.make_node("Softmax", ["pooled"], ["classes"]),
    ]
    shape = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 8, 8])
    classes = helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "tiny", [shape], [classes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(folder / "tiny.onnx"))
    return str(folder / "tiny.onnx")


LITE_BLOCKS = (
    *((1, 3, 1, 16), (2, 3, 6, 24), (2, 5, 6, 40), (3, 3, 6, 80)),
    *((3, 5, 6, 112), (4, 5, 6, 192), (1, 3, 6, 320)),
)
"""Of each stage of EfficientNet-Lite0: blocks, kernel, expansion, channels."""


def lite_weights() -> dict[str, torch.Tensor]:
    """Return random weights by their names in the published file."""
    generator = torch.Generator().manual_seed(0)
    weights: dict[str, torch.Tensor] = {}

    def add(conv: str, norm: str, *shape: int) -> None:
        scale = (shape[1] * shape[2] * shape[3]) ** -0.5
        weights[f"{conv}.weight"] = torch.randn(shape, generator=generator) * scale
        for part, value in (("running_mean", 0), ("running_var", 1), ("weight", 1), ("bias", 0)):
            weights[f"{norm}.{part}"] = torch.full((shape[0],), float(value))

    add("_conv_stem", "_bn0", 32, 3, 3, 3)
    inner, number = 32, 0
    for blocks, kernel, expansion, outer in LITE_BLOCKS:
        for _ in range(blocks):
            at, wide = f"_blocks.{number}.", inner * expansion
            if expansion > 1:
                add(f"{at}_expand_conv", f"{at}_bn0", wide, inner, 1, 1)
            add(f"{at}_depthwise_conv", f"{at}_bn1", wide, 1, kernel, kernel)
            add(f"{at}_project_conv", f"{at}_bn2", outer, wide, 1, 1)
            inner, number = outer, number + 1
    add("_conv_head", "_bn1", 1280, inner, 1, 1)
    weights["_fc.weight"] = torch.zeros(1000, 1280)
    return weights


def lite_file(folder: Path) -> tuple[str, str]:
    torch.save(lite_weights(), folder / "lite.pth")
    return str(folder / "lite.pth"), hashlib.sha256((folder / "lite.pth").read_bytes()).hexdigest()


def vit_folder(folder: Path) -> str:
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    torch.manual_seed(0)
    size = {"height": 16, "width": 16}
    config = ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=16,
        patch_size=8,
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder / "vit")
    ViTImageProcessorPil(size=size).save_pretrained(folder / "vit")
    return str(folder / "vit")


def make(family: str, folder: Path) -> Teacher:
    options: dict[str, object] = {}
    if family == "onnx-image":
        options = {"model": onnx_file(folder), "output": "pooled", "dim": 3, "size": 8}
    if family == "efficientnet-lite":
        weights, sha256 = lite_file(folder)
        options = {"weights": weights, "sha256": sha256, "size": 32}
    if family == "transformers-image":
        options = {"model": vit_folder(folder), "dim": 8}
    teacher: Teacher = TEACHERS.get(family)(name=family, threads=1, **options)
    return teacher


@pytest.mark.parametrize("family", FAMILIES)
def test_bad_images_are_missing_rows_and_good_ones_keep_theirs(family: str, tmp_path: Path) -> None:
    teacher = make(family, tmp_path)

    both = teacher.embed([BAD[0], *GOOD[:3], BAD[1], *GOOD[3:], BAD[2]])
    good = teacher.embed(GOOD)

    assert both.present.tolist() == [False, *[True] * 3, False, *[True] * 3, False]
    assert not both.values[~both.present].any()
    np.testing.assert_allclose(both.values[both.present], good.values, atol=1e-5)
    np.testing.assert_allclose(good.values[0], good.values[5], atol=1e-6)
    differing = np.abs(good.values[0] - good.values[1]).max()
    assert differing > 1e-3 * np.abs(good.values).max()
    assert teacher.embed([]).values.shape == (0, teacher.dim)
    assert teacher.embed(BAD).present.sum() == 0


def test_an_onnx_model_gives_its_inner_node_of_scaled_pixels(tmp_path: Path) -> None:
    teacher = TEACHERS.get("onnx-image")(
        name="tiny",
        threads=1,
        model=onnx_file(tmp_path),
        output="pooled",
        dim=3,
        size=8,
        mean=[10, 20, 30],
        scale=2.0,
        channels="bgr",
    )

    values = teacher.embed([written(Image.new("RGB", (8, 8), (50, 100, 150)))]).values

    np.testing.assert_allclose(values, [[70.0, 40.0, 10.0]])


def test_an_unknown_node_is_named(tmp_path: Path) -> None:
    teacher = TEACHERS.get("onnx-image")(
        name="tiny", threads=1, model=onnx_file(tmp_path), output="poled", dim=3, size=8
    )

    with pytest.raises(UnknownNameError, match="Did you mean 'pooled'"):
        teacher.embed([png(1)])


def test_efficientnet_counts_what_runs_and_no_classifier(tmp_path: Path) -> None:
    weights, sha256 = lite_file(tmp_path)
    teacher = TEACHERS.get("efficientnet-lite")(
        name="lite", threads=1, weights=weights, sha256=sha256
    )

    assert teacher.n_parameters == 3_371_008


def test_weights_of_another_content_are_not_read(tmp_path: Path) -> None:
    weights, _ = lite_file(tmp_path)
    teacher = TEACHERS.get("efficientnet-lite")(
        name="lite", threads=1, weights=weights, sha256="0" * 64
    )

    with pytest.raises(DataError, match="must have sha256 0000"):
        teacher.embed([png(1)])
    teacher = TEACHERS.get("efficientnet-lite")(
        name="lite", threads=1, weights=str(tmp_path), sha256="0" * 64
    )
    with pytest.raises(DataError, match="Is a directory"):
        teacher.embed([png(1)])


def test_hog_sees_directions_and_colours() -> None:
    upright = np.full((64, 64, 3), 255, np.uint8)
    upright[:, 30:34] = 0
    lying = upright.transpose(1, 0, 2)
    red = np.full((64, 64, 3), (255, 0, 0), np.uint8)
    images = [written(Image.fromarray(one)) for one in (upright, lying, red)]

    values = TEACHERS.get("hog-colour")(name="hog", threads=1).embed(images).values

    edges = values[:, :576].reshape(3, 64, 9).sum(axis=1)
    assert edges[0].argmax() == 0  # brightness changes from left to right
    assert edges[1].argmax() == 4  # and here from top to bottom
    assert edges[2].sum() == 0
    assert values[2, 576:].argmax() == 3 * 16
    assert values[2, 576:].max() == 1


def test_images_that_are_read_ahead_leave_the_filters_of_warnings_as_they_are() -> None:
    images = [png(seed) for seed in range(60)]
    before = list(warnings.filters)

    for threads in (1, 4):
        found = TEACHERS.get("hog-colour")(name="hog", threads=threads).embed(images)
        np.testing.assert_array_equal(
            found.values, TEACHERS.get("hog-colour")(name="hog", threads=1).embed(images).values
        )
        assert found.present.all()

    assert warnings.filters == before
