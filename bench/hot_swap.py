"""A teacher that comes and one that goes: steps to the score of a run from scratch, on real embeddings."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from bench.measure import Row
from polydistill.adoption import adopt
from polydistill.contracts import Embeddings, Example
from polydistill.layout import Layout
from polydistill.params import Params, load_params
from polydistill.stages.distill import DistillReport, distill
from polydistill.store import StoredEmbeddings, open_embeddings, write_embeddings
from polydistill.students import encode, load_student, static

ROWS, EVALS_PER_EPOCH, MODALITY = 24_576, 8, "text"
PROBED = ("wordnet-lexfile", "debian-section")
TEACHER = "paraphrase-l3"
"""Who comes and goes."""


class _Stored:
    """A teacher that reads what another run has stored."""

    by_id = False

    def __init__(self, stored: StoredEmbeddings) -> None:
        self.name, self.dim, self._stored = stored.teacher, stored.dim, stored
        self.identity: Mapping[str, str | int | float | bool | None] = dict(stored.identity)  # type: ignore[arg-type]
        self._rows = {name: row for row, name in enumerate(stored.ids[:ROWS].tolist())}

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        return self._stored.take(np.array([self._rows[str(one)] for one in examples]))


@dataclass(frozen=True)
class Run:
    """What a run came to.

    Attributes:
        report: The stage's.
        history: Held-out loss, mean of the teachers that count here, by step.
        score: Of the probes, in [0, 1].
    """

    report: DistillReport
    history: pd.Series
    score: float


def run() -> list[Row]:
    """Add a teacher to three and take it away again, each time against a run from scratch."""
    with tempfile.TemporaryDirectory() as name:
        return measure(Path(name))


def measure(root: Path) -> list[Row]:
    """Distil five times in the folder `root`."""
    layout, params = _make_project(root)
    static._embed_tokens = cache_by_size(static._embed_tokens)
    without = _without(params)
    three = _distil(layout, without)
    before = adopt(root, MODALITY, layout.artifacts)
    four = _distil(layout, params)
    after = adopt(root, MODALITY, layout.artifacts)
    added = _distil(layout, _warm(params, before.sha256))
    retired = _distil(layout, _warm(without, after.sha256))
    return [
        *_compare(f"hot-swap: {TEACHER} comes", added, four),
        *_compare(f"hot-swap: {TEACHER} goes", retired, three),
    ]
