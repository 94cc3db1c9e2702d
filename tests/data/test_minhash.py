from __future__ import annotations

import numpy as np
import pytest

from polydistill.contracts import Modality
from polydistill.data import minhash
from polydistill.data.minhash import similar_rows
from polydistill.data.modalities import MODALITIES
from polydistill.data.near_duplicates import near_duplicate_pairs

WORDS = ("red", "green", "blue", "house", "mouse", "library", "libraries", "maps", "garden", "of")


def test_the_rows_with_a_near_duplicate_are_those_of_the_exact_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(minhash, "BATCH", 64)  # several batches
    text: Modality = MODALITIES.get("text")()
    generator = np.random.default_rng(0)
    others = [" ".join(generator.choice(WORDS, 40)) for _ in range(300)]
    examples = []
    for row, other in enumerate(others):
        words = other.split()
        for place in generator.choice(40, row % 12, replace=False):
            words[place] = "changed"
        examples.append(" ".join(words))

    found = similar_rows(examples, others, text, 0.8)

    keys = list(dict.fromkeys([*examples, *others]))
    pairs = near_duplicate_pairs([text.near_key(key) for key in keys], 0.8)
    known = set(others)
    linked = {
        one for pair in pairs.tolist() for one, two in (pair, pair[::-1]) if keys[two] in known
    }
    expected = [one in known or keys.index(one) in linked for one in examples]
    assert 0.2 < np.mean(expected) < 0.8
    assert found.tolist() == expected


def test_rows_of_one_template_are_not_compared_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    text: Modality = MODALITIES.get("text")()
    theirs = [f"order {n} was sent to the customer from the store" for n in range(300)]
    ours = [f"invoice {n} was paid by the customer in the town" for n in range(300)]
    compared = []

    def compare(*pair: object) -> bool:
        compared.append(pair)
        return False

    monkeypatch.setattr(minhash, "_is_similar", compare)

    similar_rows(ours, theirs, text, 0.5)

    assert len(compared) <= len(ours)  # one per example and batch


@pytest.mark.parametrize(("n_examples", "n_others"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_is_similar_to_nothing(n_examples: int, n_others: int) -> None:
    text: Modality = MODALITIES.get("text")()

    found = similar_rows(["a text"] * n_examples, ["a text"] * n_others, text, 0.8)

    assert found.tolist() == [False] * n_examples
