from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polydistill.contracts import Example
from polydistill.training import dataset
from polydistill.training.dataset import Batches, EpochsSampler, held_out_mask, seeded


@given(n_examples=st.integers(0, 50), epochs=st.integers(1, 4), seed=st.integers(0, 9))
def test_every_example_comes_exactly_once_an_epoch(n_examples: int, epochs: int, seed: int) -> None:
    sampler = EpochsSampler(n_examples, epochs, seed)

    rows = list(sampler)

    assert len(rows) == len(sampler)
    for epoch in range(epochs):
        assert sorted(rows[epoch * n_examples : (epoch + 1) * n_examples]) == [*range(n_examples)]


def test_orders_differ_from_epoch_to_epoch_and_from_seed_to_seed() -> None:
    first, second = np.array(list(EpochsSampler(100, 2, 0))).reshape(2, 100)
    other = list(EpochsSampler(100, 1, 1))

    assert (first != second).any()
    assert (first != other).any()
    assert list(EpochsSampler(100, 1, 0)) == first.tolist()


def test_purposes_have_generators_of_their_own() -> None:
    assert seeded(0, "weights").random() == seeded(0, "weights").random()
    assert seeded(0, "weights").random() != seeded(0, "order").random()


@given(order=st.permutations(range(30)))
def test_the_split_does_not_depend_on_the_order_of_rows(order: list[int]) -> None:
    groups = [f"group {row // 2}" for row in range(30)]

    mask = held_out_mask([groups[row] for row in order], 0.3)

    np.testing.assert_array_equal(mask, held_out_mask(groups, 0.3)[order])


def test_a_group_never_straddles_the_split() -> None:
    groups = [f"group {row % 500}" for row in range(5000)]

    mask = held_out_mask(groups, 0.1)

    trained = {group for group, out in zip(groups, mask, strict=True) if not out}
    held_out = {group for group, out in zip(groups, mask, strict=True) if out}
    assert not trained & held_out
    assert 0.05 < mask.mean() < 0.15


def test_a_batch_holds_the_rows_asked_for() -> None:
    batches = Batches(
        ["a", "b", "c"],
        lambda examples: {"codes": torch.tensor([ord(str(one)) for one in examples])},
        {"teacher": torch.tensor([[1.0], [2.0], [3.0]])},
        {"teacher": torch.tensor([True, False, True])},
    )

    batch = batches([2, 1])

    assert batch["features"]["codes"].tolist() == [ord("c"), ord("b")]
    assert batch["targets"]["teacher"].tolist() == [[3.0], [2.0]]
    assert batch["masks"]["teacher"].tolist() == [True, False]


def test_a_share_of_the_texts_is_perturbed_in_training_only_and_always_the_same_ones() -> None:
    texts = [f"the {n} parts of a flower" for n in range(400)]
    table = {"teacher": torch.zeros(400, 1)}
    present = {"teacher": torch.ones(400, dtype=torch.bool)}
    collated: list[Sequence[Example]] = []

    def collate(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        collated.append(examples)
        return {}

    batches = Batches(texts, collate, table, present, {"typos": 0.2, "case": 0.1})

    batches([*range(400)])
    batches.perturbed([*range(400)])
    batches.perturbed([*range(399, -1, -1)])

    plain, changed, again = collated
    assert plain == texts
    assert [*reversed(again)] == changed
    cases = sum(str(one).lower() == text for one, text in zip(changed, texts, strict=True))
    assert 80 < 400 - sum(one == text for one, text in zip(changed, texts, strict=True)) < 160
    assert 280 < cases < 350  # all but those with typos


@pytest.mark.parametrize("n_examples", [1, 16, 17, 40, 41, 100])
def test_many_examples_are_shuffled_in_windows_of_blocks(
    n_examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "WINDOW", 16)
    monkeypatch.setattr(dataset, "BLOCK", 4)

    first, second = np.array(list(EpochsSampler(n_examples, 2, 0))).reshape(2, n_examples)

    assert sorted(first) == sorted(second) == [*range(n_examples)]
    assert list(EpochsSampler(n_examples, 1, 0)) == first.tolist()
    if n_examples in {40, 100}:  # all blocks are full
        assert (first != second).any()
        blocks = [{row // 4 for row in first[start : start + 16]} for start in (0, 16)]
        assert not blocks[0] & blocks[1]
        assert blocks[0] != {0, 1, 2, 3}
        assert first[:4].tolist() != sorted(first[:4])
