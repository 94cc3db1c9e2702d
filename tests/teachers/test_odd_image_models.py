"""Image models as users export them: fixed batches, number types, image towers, and damaged folders."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from polydistill.contracts import Teacher
from polydistill.errors import DataError, ParamsError, PolydistillError, ShapeError
from polydistill.students import encode
from polydistill.students.image_encoder import ImageEncoderStudent
from polydistill.teachers import TEACHERS
from tests.made_images import TINY_RESNET, png, written
from tests.teachers.test_image_teachers import FAMILIES, make, vit_folder

IMAGES = [png(seed) for seed in range(7)]


def onnx_teacher(folder: Path, kind: str, shape: list[Any], **options: Any) -> Teacher:
    """Return a teacher whose graph casts its input to float32 and takes the mean over positions."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["pixels"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["pooled"], axes=[2, 3], keepdims=0),
    ]
    taken = helper.make_tensor_value_info("pixels", getattr(TensorProto, kind), shape)
    given = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, [shape[0], 3])
    graph = helper.make_graph(nodes, "tiny", [taken], [given])
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "tiny.onnx")
    known = {"model": str(folder / "tiny.onnx"), "output": "pooled", "dim": 3, "size": 8}
    teacher: Teacher = TEACHERS.get("onnx-image")(name="tiny", threads=1, **{**known, **options})
    return teacher


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 16])
@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "DOUBLE", "UINT8"])
def test_a_graph_with_a_fixed_batch_and_any_number_type_is_run(
    kind: str, batch: int, tmp_path: Path
) -> None:
    free = onnx_teacher(tmp_path, "FLOAT", ["n", 3, 8, 8]).embed(IMAGES).values

    fixed = onnx_teacher(tmp_path, kind, [batch, 3, 8, 8]).embed(IMAGES).values

    np.testing.assert_allclose(fixed, free, rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "options", "error", "message"),
    [
        (["n", 8, 8, 3], {}, ShapeError, r"\(batch, 8, 8, 3\), got \(batch, 3, 8, 8\).*`layout`"),
        (["n", 3, 8, 8], {"layout": "nhwc"}, ShapeError, r"3, 8, 8\), got \(batch, 8, 8, 3\)"),
        ([1, 3, 16, 16], {}, ShapeError, r"\(batch, 3, 16, 16\), got .* or `size`"),
        (["n", 3, 8, 8], {"mean": [1, 2, 3]}, ParamsError, "leave out `mean` and `scale`"),
        (["n", 3, 8, 8], {"model": "."}, DataError, "cannot be read: .*directory"),
        (["n", 3, 8, 8], {"model": __file__}, DataError, "cannot be read: "),
    ],
)
def test_an_input_that_does_not_fit_is_named_before_the_first_image(
    shape: list[Any], options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    teacher: Any = onnx_teacher(tmp_path, "UINT8", shape, **options)

    with pytest.raises(error, match=message) as refused:
        teacher.check()

    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("given", [[1.0], [1, 2, 3, 4], ["a", "b", "c"]])
def test_a_mean_of_other_than_three_numbers_is_refused(given: list[Any]) -> None:
    options = {"model": "m.onnx", "output": "o", "dim": 3, "size": 8, "mean": given}

    with pytest.raises(ParamsError, match="'mean'"):
        TEACHERS.check("onnx-image", options)


def image_and_text_folder(kind: str, folder: Path) -> str:
    """Write a tiny model of images and texts with random weights, and its image processor."""
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    both = {**sizes, "num_attention_heads": 2}
    vision = {**both, "image_size": 16, "patch_size": 8}
    text = {**both, "vocab_size": 16, "max_position_embeddings": 8}
    config = getattr(transformers, f"{kind}Config")(vision_config=vision, text_config=text)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder / kind)
    size = {"height": 16, "width": 16}
    transformers.ViTImageProcessorPil(size=size).save_pretrained(folder / kind)
    return str(folder / kind)


@pytest.mark.parametrize("pooling", ["mean", "pooler"])
@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
def test_the_image_encoder_of_a_model_of_images_and_texts_is_used(
    kind: str, pooling: str, tmp_path: Path
) -> None:
    import transformers

    folder = image_and_text_folder(kind, tmp_path)
    tower = getattr(transformers, f"{kind}VisionModel").from_pretrained(folder).eval()
    processor = transformers.ViTImageProcessorPil.from_pretrained(folder)
    teacher = TEACHERS.get("transformers-image")(
        name="t", threads=1, model=folder, dim=8, pooling=pooling
    )

    values = teacher.embed(IMAGES[:2]).values

    with torch.inference_mode():
        drawn: list[Image.Image] = [Image.open(io.BytesIO(one)) for one in IMAGES[:2]]
        given = tower(**processor(images=drawn, return_tensors="pt"))
    expected = given.pooler_output if pooling == "pooler" else given.last_hidden_state.mean(dim=1)
    np.testing.assert_allclose(values, expected, atol=1e-5)


def resnet_folder(folder: Path) -> str:
    """Write a model that takes images of any shape, and a processor that does not crop."""
    from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetModel

    torch.manual_seed(0)
    options = {key: value for key, value in TINY_RESNET.items() if key != "model_type"}
    ResNetModel(ResNetConfig(**options)).save_pretrained(folder / "resnet")  # type: ignore[arg-type]
    processor = ConvNextImageProcessorPil(do_resize=False)
    processor.save_pretrained(folder / "resnet")
    return str(folder / "resnet")


def test_images_that_a_processor_leaves_in_several_shapes_are_embedded_in_order(
    tmp_path: Path,
) -> None:
    shapes = [(32, 32), (40, 32), (32, 40), (40, 32), (32, 32), (3000, 8)]
    examples = [written(Image.effect_noise(shape, 50).convert("RGB")) for shape in shapes]
    teacher = TEACHERS.get("transformers-image")(
        name="t", threads=1, model=resnet_folder(tmp_path), dim=16
    )

    together = teacher.embed(examples)

    assert together.present.tolist() == [True] * 5 + [False]  # of a ratio above 100
    for row, example in enumerate(examples[:5]):
        alone = teacher.embed([example]).values[0]
        np.testing.assert_allclose(together.values[row], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no processor", "must hold preprocessor_config.json"),
        ("pickle", "is a pickle"),
        ("pointer", "is a Git LFS pointer"),
        ("no weights", "cannot be read"),
        ("cut", "cannot be read"),
        ("no config", "cannot be read"),
        ("odd processor", "cannot be read"),
    ],
)
def test_a_folder_that_cannot_be_used_is_explained_in_a_sentence(
    fault: str, message: str, tmp_path: Path
) -> None:
    folder = Path(vit_folder(tmp_path))
    weights, processor = folder / "model.safetensors", folder / "preprocessor_config.json"
    if fault == "no processor":
        processor.unlink()
    elif fault == "odd processor":
        processor.write_text("[1]")
    elif fault == "pickle":
        weights.rename(folder / "pytorch_model.bin")
    elif fault == "pointer":
        weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    elif fault == "no weights":
        weights.unlink()
    elif fault == "cut":
        weights.write_bytes(weights.read_bytes()[:200])
    else:
        (folder / "config.json").unlink()
    teacher = TEACHERS.get("transformers-image")(name="t", threads=1, model=str(folder), dim=8)

    with pytest.raises(PolydistillError, match=message) as refused:
        teacher.embed(IMAGES[:1])

    assert len(str(refused.value)) < 600


PICTURE = Image.fromarray(np.random.default_rng(5).integers(0, 256, (24, 20, 3), np.uint8))
SPELLINGS = [
    *(written(PICTURE, "PNG", compress_level=level) for level in (0, 6)),
    written(PICTURE.convert("RGBA")),
    written(PICTURE, "BMP"),
    written(PICTURE, "TIFF", compression="tiff_lzw"),
    written(PICTURE, "WEBP", lossless=True),
]
ORDERS = st.permutations([*SPELLINGS, *IMAGES[:3]]).flatmap(
    lambda rows: st.integers(1, len(rows)).map(lambda n: rows[:n])
)


@pytest.fixture(scope="module", params=[*FAMILIES, "student"])
def embed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param == "student":
        student = ImageEncoderStudent.build(
            [], torch.Generator().manual_seed(0), encoder=TINY_RESNET, size=32, dim=6
        )
        return lambda examples: encode(student, examples)
    teacher = make(request.param, tmp_path_factory.mktemp("model"))
    return lambda examples: teacher.embed(examples).values


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=ORDERS)
def test_one_picture_has_one_embedding_in_any_file_batch_and_order(
    embed: Any, rows: list[bytes]
) -> None:
    alone = {example: embed([example])[0] for example in {SPELLINGS[0], *IMAGES[:3]}}
    largest = max(1.0, *(float(np.abs(value).max()) for value in alone.values()))

    together = embed(rows)

    for example, value in zip(rows, together, strict=True):
        expected = alone[SPELLINGS[0] if example in SPELLINGS else example]
        np.testing.assert_allclose(value, expected, atol=1e-5 * largest)
