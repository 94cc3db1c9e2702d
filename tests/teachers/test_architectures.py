"""Every architecture of the hub gives what sentence-transformers' own `encode` gives: encoders, decoders, encoders of T5."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from polydistill.errors import ParamsError, UnknownNameError
from polydistill.teachers._texts import BATCH_TOKENS
from polydistill.teachers.sentence_transformers import SentenceTransformersTeacher
from polydistill.teachers.transformers import TransformersTeacher

DIM = 32
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *["the", "cat", "sat", "a", "dog", "ran", "query", "passage", ":"],
]
TEXTS = ["the cat sat", "a dog", "the dog ran the cat ran the dog ran", "a", "dog dog cat"] * 3
PROMPTS = {"query": "query : ", "document": "passage : "}
SIZES: dict[str, Any] = {
    "vocab_size": len(WORDS), "hidden_size": DIM, "intermediate_size": 2 * DIM, "num_hidden_layers": 2,
    "num_attention_heads": 4, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
}  # fmt: skip
ARCHITECTURES: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**SIZES)),
    "xlm-roberta": lambda: transformers.XLMRobertaModel(transformers.XLMRobertaConfig(**SIZES)),
    "modernbert": lambda: transformers.ModernBertModel(
        transformers.ModernBertConfig(**SIZES, cls_token_id=2, sep_token_id=3)
    ),
    "qwen3": lambda: transformers.Qwen3Model(
        transformers.Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=8)
    ),
    "t5": lambda: transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=len(WORDS), d_model=DIM, d_ff=64, d_kv=8, num_heads=4, num_layers=2
        )
    ),
}
DECODERS = ("qwen3",)


def save(folder: Path, name: str, *, has_pad: bool = True) -> Path:
    """Save a tiny random checkpoint with a tokenizer that adds special tokens as the architecture does."""
    torch.manual_seed(0)
    ARCHITECTURES[name]().eval().save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    form = "$A [SEP]" if name in (*DECODERS, "t5") else "[CLS] $A [SEP]"
    words.post_processor = processors.TemplateProcessing(
        single=form, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    given = {"pad_token": "[PAD]"} if has_pad else {"eos_token": "[SEP]"}
    side = "left" if name in DECODERS else "right"
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, padding_side=side, model_max_length=16, **given
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module", params=["mean", "cls", "lasttoken"])
def saved(
    checkpoint: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder of sentence-transformers: the checkpoint, a pooling, normalisation, prompts by role."""
    modules = [Transformer(str(checkpoint)), Pooling(DIM, pooling_mode=request.param), Normalize()]
    model = SentenceTransformer(modules=modules, prompts=PROMPTS, device="cpu")
    folder = tmp_path_factory.mktemp("saved")
    model.save(str(folder), create_model_card=False)
    return folder


@pytest.mark.parametrize(
    ("role", "truncate_dim", "batch_tokens"),
    [(None, None, None), ("query", 8, 12), ("document", None, 16_384)],
)
def test_a_folder_gives_what_its_own_library_gives(
    saved: Path, role: str | None, truncate_dim: int | None, batch_tokens: int | None
) -> None:
    library = SentenceTransformer(str(saved), device="cpu", truncate_dim=truncate_dim)
    expected = library.encode(TEXTS, prompt_name=role)

    teacher = SentenceTransformersTeacher(
        "tiny", 1, model=str(saved), prompt_name=role, truncate_dim=truncate_dim,
        batch_tokens=batch_tokens,
    )  # fmt: skip

    assert teacher.dim == expected.shape[1]
    np.testing.assert_allclose(teacher.embed(TEXTS).values, expected, atol=1e-5)


def test_the_width_that_a_folder_keeps_is_kept(saved: Path, tmp_path: Path) -> None:
    model = SentenceTransformer(str(saved), device="cpu", truncate_dim=8)
    model.save(str(tmp_path), create_model_card=False)
    expected = SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS)

    teacher = SentenceTransformersTeacher("tiny", 1, model=str(tmp_path))

    assert teacher.dim == expected.shape[1] == 8
    np.testing.assert_allclose(teacher.embed(TEXTS).values, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "mode"), [("mean", "mean"), ("cls", "cls"), ("last", "lasttoken")]
)
@pytest.mark.parametrize("batch_tokens", [12, 16_384])
def test_a_checkpoint_without_modules_is_pooled_as_the_library_would(
    checkpoint: Path, pooling: str, mode: Any, batch_tokens: int
) -> None:
    modules = [Transformer(str(checkpoint)), Pooling(DIM, pooling_mode=mode)]
    expected = SentenceTransformer(modules=modules, device="cpu").encode(TEXTS)

    for family in (TransformersTeacher, SentenceTransformersTeacher):
        teacher = family(
            "tiny", 1, model=str(checkpoint), pooling=pooling, normalize=False,
            batch_tokens=batch_tokens,
        )  # fmt: skip
        found = teacher.embed(TEXTS).values
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=family.family)


def test_a_tokenizer_without_a_pad_token_is_padded(tmp_path: Path) -> None:
    folder = save(tmp_path, "qwen3", has_pad=False)
    teacher = TransformersTeacher("tiny", 1, model=str(folder), pooling="last")

    alone = np.concatenate([teacher.embed([text]).values for text in TEXTS])

    np.testing.assert_allclose(teacher.embed(TEXTS).values, alone, atol=1e-5)


def test_an_unknown_role_and_two_prompts_are_refused(saved: Path) -> None:
    teacher = SentenceTransformersTeacher("tiny", 1, model=str(saved), prompt_name="querry")
    with pytest.raises(UnknownNameError, match="Did you mean 'query'"):
        teacher.embed(TEXTS)
    with pytest.raises(ParamsError, match="either `prompt` or `prompt_name`"):
        SentenceTransformersTeacher("t", 1, model=str(saved), prompt="a", prompt_name="query")


def test_texts_of_similar_length_share_a_batch_and_padding_is_counted(checkpoint: Path) -> None:
    teacher = TransformersTeacher("tiny", 1, model=str(checkpoint), batch_tokens=40)
    short, long = ["a dog"] * 200, ["the cat sat the cat"] * 200

    teacher.embed([text for pair in zip(short, long, strict=True) for text in pair])

    assert teacher.tokens == 200 * sum(map(int, teacher._tokens.lengths(["a dog", long[0]])))
    assert 1 - teacher.tokens / teacher.positions < 0.05


@pytest.mark.parametrize("family", [TransformersTeacher, SentenceTransformersTeacher])
def test_embeddings_do_not_depend_on_the_number_of_threads(checkpoint: Path, family: Any) -> None:
    texts = [f"{text} the cat" for text in TEXTS] * 40
    before = torch.get_num_threads()

    one, three = (family("tiny", n, model=str(checkpoint), batch_tokens=64) for n in (1, 3))

    assert one.dim == three.dim
    assert torch.get_num_threads() == before
    assert one.embed(texts).values.tobytes() == three.embed(texts).values.tobytes()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("family", [TransformersTeacher, SentenceTransformersTeacher])
def test_lack_of_memory_halves_the_batch_and_goes_on(
    checkpoint: Path, family: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = family("tiny", 1, model=str(checkpoint)).embed(TEXTS).values
    teacher = family("tiny", 1, model=str(checkpoint))
    run, sizes = teacher._run, list[int]()

    def limited(batch: Any) -> Any:
        ids = batch[0] if isinstance(batch, tuple) else batch["input_ids"]
        sizes.append(len(ids))
        if len(ids) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return run(batch)

    monkeypatch.setattr(teacher, "_run", limited)

    np.testing.assert_allclose(teacher.embed(TEXTS).values, expected, atol=1e-5)
    assert max(sizes) > 4
    assert teacher.batch_tokens < BATCH_TOKENS["cpu"]
    assert "memory is lacking" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("family", [TransformersTeacher, SentenceTransformersTeacher])
def test_a_compiled_model_gives_the_same_embeddings(tmp_path: Path, family: Any) -> None:
    folder = str(save(tmp_path, "bert"))

    plain, compiled = (family("tiny", 1, model=folder, compiled=one) for one in (False, True))

    np.testing.assert_allclose(compiled.embed(TEXTS).values, plain.embed(TEXTS).values, atol=1e-5)
