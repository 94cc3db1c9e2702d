from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from polydistill.config.nodes import Plugin
from polydistill.errors import DataError, MissingDataError
from polydistill.heads.low_rank import LowRankHeads
from polydistill.training.calibration import NoveltyScale
from polydistill.training.heads_bundle import HeadsBundle, HeadsCard, load_heads, save_heads
from polydistill.training.standardise import Standardiser

DIMS = {"wide": 5, "narrow": 3}  # not in the alphabet's order


def bundle() -> HeadsBundle:
    heads = LowRankHeads(4, DIMS, torch.Generator().manual_seed(3), hidden=6, modes=2)
    standardisers = {
        name: Standardiser(np.full(dim, 2, np.float32), np.full(dim, 3, np.float32))
        for name, dim in DIMS.items()
    }
    card = HeadsCard(
        heads=Plugin.model_validate({"name": "low-rank", "hidden": 6, "modes": 2}),
        weighting=Plugin(name="per-dimension"),
        student_dim=4,
        student_sha256="0" * 64,
        teachers=tuple(DIMS),
        teacher_dims=DIMS,
        scale="predicted",
        factors={"wide": 1.5, "narrow": 0.5},
        novelty=NoveltyScale(mean=-1.0, std=0.1),
    )
    return HeadsBundle(card, heads, standardisers, {})


def test_heads_come_back_as_they_were(tmp_path: Path) -> None:
    saved = bundle()
    save_heads(saved, tmp_path / "heads")

    loaded = load_heads(tmp_path / "heads")

    student = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    expected, found = saved.module(student), loaded.module(student)
    assert list(found) == list(DIMS)
    assert loaded.card == saved.card
    assert not loaded.module.training
    for name, dim in DIMS.items():
        torch.testing.assert_close(found[name].mean, expected[name].mean, rtol=0, atol=0)
        np.testing.assert_array_equal(loaded.standardisers[name].std, np.full(dim, 3))


def test_the_same_heads_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        save_heads(bundle(), tmp_path / name)

    for file in ("heads.json", "heads.safetensors"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


@pytest.mark.parametrize("file", ["heads.json", "heads.safetensors"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, file: str) -> None:
    save_heads(bundle(), tmp_path / "heads")
    (tmp_path / "heads" / file).unlink()

    with pytest.raises(MissingDataError, match=f"{file}.*run the distill stage"):
        load_heads(tmp_path / "heads")


@pytest.mark.parametrize("file", ["heads.json", "heads.safetensors"])
def test_a_damaged_file_is_named(tmp_path: Path, file: str) -> None:
    save_heads(bundle(), tmp_path / "heads")
    path = tmp_path / "heads" / file
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(DataError, match=f"{file} is damaged"):
        load_heads(tmp_path / "heads")


@pytest.mark.parametrize("seed", range(10))
def test_every_bit_of_the_weights_counts(tmp_path: Path, seed: int) -> None:
    save_heads(bundle(), tmp_path / "heads")
    path, draw = tmp_path / "heads" / "heads.safetensors", random.Random(seed)
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"heads\.safetensors is damaged"):
        load_heads(tmp_path / "heads")


def test_heads_of_an_earlier_release_have_no_hashes(tmp_path: Path) -> None:
    saved = bundle()
    save_heads(saved, tmp_path / "heads")
    path = tmp_path / "heads" / "heads.json"
    card = json.loads(path.read_text())
    del card["files"]
    path.write_text(json.dumps(card))

    assert load_heads(tmp_path / "heads").card == saved.card


def test_a_card_of_an_older_version_says_to_distil_again(tmp_path: Path) -> None:
    save_heads(bundle(), tmp_path / "heads")
    older = {"heads": {"name": "low-rank"}, "teachers": ["wide", "narrow"]}
    (tmp_path / "heads" / "heads.json").write_text(json.dumps(older))

    with pytest.raises(DataError, match="older version.*run the distill stage again"):
        load_heads(tmp_path / "heads")


def test_an_option_that_heads_no_longer_have_says_to_distil_again(tmp_path: Path) -> None:
    save_heads(bundle(), tmp_path / "heads")
    card = json.loads((tmp_path / "heads" / "heads.json").read_text())
    card["heads"]["scale_hidden"] = 64
    (tmp_path / "heads" / "heads.json").write_text(json.dumps(card))

    with pytest.raises(
        DataError, match="'scale_hidden'.*older version.*run the distill stage again"
    ):
        load_heads(tmp_path / "heads")


def test_weights_of_other_options_are_refused(tmp_path: Path) -> None:
    save_heads(bundle(), tmp_path / "heads")
    card = json.loads((tmp_path / "heads" / "heads.json").read_text())
    card["heads"]["hidden"] = 7
    (tmp_path / "heads" / "heads.json").write_text(json.dumps(card))

    with pytest.raises(DataError, match="heads.safetensors"):
        load_heads(tmp_path / "heads")
