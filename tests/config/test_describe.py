from __future__ import annotations

from typing import Any

import pytest

from polydistill.config.describe import REQUIRED, Setting, describe
from polydistill.config.params import load_params, parse_params, read_tree
from tests.our_params import ROOT

CORPUS = {"path": "corpus.csv", "rows": 10}


def described(**block: Any) -> dict[str, Setting]:
    own = {"text": {"corpus": CORPUS, "teachers": {"minilm-l6": None}} | block}
    found = describe(parse_params(own), own, "text", lambda key, name: {f"of_{name}": key})
    return {one.key: one for one in found}


@pytest.mark.parametrize("modality", ["text", "vision", "molecules"])
def test_every_effective_value_is_described_once(modality: str) -> None:
    params = load_params(ROOT)

    found = [one.key for one in describe(params, read_tree(ROOT), modality, lambda *_: {})]

    assert len(found) == len(set(found))
    assert {f"{modality}.training.guard.spike", f"{modality}.gate.min_gain", "seed"} <= set(found)


def test_a_value_that_is_left_out_is_its_default() -> None:
    epochs = described()["text.training.epochs"]

    assert (epochs.value, epochs.default, epochs.is_set) == (4, 4, False)
    assert (epochs.bound, epochs.unit) == ("≥ 1, ≤ 10000", "epochs")


def test_a_value_that_is_set_stands_beside_its_default() -> None:
    found = described(gate={"max_size_mb": 8})["text.gate.max_size_mb"]

    assert (found.value, found.default, found.is_set) == (8.0, 64.0, True)
    assert (found.bound, found.unit) == ("> 0", "MB")
    assert found.description == "Maximum size of the bundle on disk."


def test_a_choice_lists_what_is_allowed() -> None:
    assert described()["text.store.dtype"].bound == "float16 | float32"


def test_what_params_yaml_must_say_has_no_default() -> None:
    assert described()["text.corpus.path"].default == REQUIRED


def test_options_of_a_plug_in_come_with_its_own_defaults() -> None:
    found = described()["text.loss.of_beta-nll"]

    assert (found.value, found.default) == ("loss", "loss")


def test_a_named_plug_in_has_none_of_our_defaults() -> None:
    found = described(heads={"name": "low-rank", "hidden": 32})

    assert found["text.heads.hidden"].default == REQUIRED
    assert "text.heads.mean_rank" not in found


def test_a_known_teacher_has_pinned_defaults() -> None:
    found = described(teachers={"minilm-l6": {"max_tokens": 64}})

    assert found["text.teachers.minilm-l6.max_tokens"].default == 128
    assert not found["text.teachers.minilm-l6.family"].is_set
