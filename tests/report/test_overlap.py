from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from polydistill.config.data import TaskParams
from polydistill.contracts import Example, Modality
from polydistill.data.corpora import StoredCorpus
from polydistill.data.ids import pack_ids
from polydistill.data.modalities import MODALITIES
from polydistill.report.overlap import Overlap, keep_overlaps, known_overlaps, overlap_key, overlaps


def found(modality: str, corpus: Sequence[Example], task: Sequence[Example]) -> Overlap:
    kind: Modality = MODALITIES.get(modality)()
    ids = pack_ids([kind.content_id(one) for one in corpus])
    stored = StoredCorpus(cast(Any, ids), cast(Any, list(corpus)), cast(Any, []), None)
    frame = pd.DataFrame({"id": [str(n) for n in range(len(task))], kind.column: list(task)})
    params = {"planted": TaskParams(kind="classification", path="x", domain="in")}
    return overlaps(stored, {"planted": frame}, params, kind)["planted"]


def test_a_planted_text_is_found_as_it_is_and_with_other_punctuation() -> None:
    corpus = ["A library for maps.", "Something else"]

    overlap = found("text", corpus, ["A library for maps.", "a library, for MAPS", "new text"])

    assert overlap == Overlap(n=3, exact=1, near=1)


def test_a_planted_long_text_is_found_with_one_word_changed() -> None:
    words = [f"word{number}" for number in range(60)]
    near, far = list(words), list(words)
    near[30] = "changed"
    far[::4] = ["changed"] * 15

    overlap = found("text", ["Something else", " ".join(words)], [" ".join(near), " ".join(far)])

    assert overlap == Overlap(n=2, exact=0, near=1)


def test_a_planted_molecule_is_found_as_a_salt_a_stereoisomer_and_a_tautomer() -> None:
    pytest.importorskip("rdkit")
    corpus = ["CC(=O)Oc1ccccc1C(=O)O", "C[C@H](N)C(=O)O", "Oc1ccccn1"]
    salt, stereoisomer, tautomer = (
        "CC(=O)Oc1ccccc1C(=O)[O-].[Na+]",
        "C[C@@H](N)C(=O)O",
        "O=c1cccc[nH]1",
    )

    overlap = found(
        "molecules", corpus, ["OC(=O)c1ccccc1OC(C)=O", salt, stereoisomer, tautomer, "CCO"]
    )

    assert overlap == Overlap(n=5, exact=1, near=3)


def test_a_planted_image_is_found_in_another_size() -> None:
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (16, 17, 3), dtype=np.uint8)  # as many as the hash compares

    def encoded(pixels: Any, form: str) -> bytes:
        buffer = io.BytesIO()
        pixels.save(buffer, form)
        return buffer.getvalue()

    whole, small = (
        image.fromarray(blocks.repeat(times, axis=0).repeat(times, axis=1)) for times in (4, 2)
    )

    overlap = found(
        "vision",
        [encoded(whole, "PNG")],
        [
            encoded(whole, "PNG"),
            encoded(small, "PNG"),
            encoded(image.fromarray(255 - blocks), "PNG"),
        ],
    )

    assert overlap == Overlap(n=3, exact=1, near=1)


def test_kept_overlaps_are_of_the_same_corpus_and_the_same_examples(tmp_path: Path) -> None:
    card, note, kind = tmp_path / "corpus.json", tmp_path / "note.json", MODALITIES.get("text")()
    card.write_text("{}")
    frames = {"task": pd.DataFrame({"id": ["1"], "text": ["one"]})}
    key = overlap_key(card, frames, kind)
    kept = {"task": Overlap(1, 1, 0)}
    keep_overlaps(note, key, kept)

    other = overlap_key(card, {"task": frames["task"].assign(text="two")}, kind)

    assert known_overlaps(note, key) == kept
    assert known_overlaps(note, other) is None
    card.write_text('{"sha256": "other"}')
    assert overlap_key(card, frames, kind) != key
