"""How much of the benchmark the corpus holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from polydistill.config.data import TaskParams
from polydistill.contracts import Example, Modality
from polydistill.data.tables import sides


@dataclass(frozen=True)
class Contamination:
    """How much of the benchmark the corpus holds.

    Attributes:
        tasks: Task: the share of its examples that the corpus holds, in [0, 1].
        n_corpus: Examples in the corpus.
        n_overlapping: Examples of all tasks that it holds.
        labels_seen: Task: the teachers whose weights were trained on its labels.
    """

    tasks: Mapping[str, float]
    n_corpus: int
    n_overlapping: int
    labels_seen: Mapping[str, Sequence[str]] = field(default_factory=dict)


def contamination(
    corpus: Iterable[Example],
    frames: Mapping[str, pd.DataFrame],
    tasks: Mapping[str, TaskParams],
    kind: Modality,
    labels_seen: Mapping[str, Sequence[str]] | None = None,
) -> Contamination:
    """Look for every benchmark example in the corpus, by its content and by its near key.

    A pair is held if both its sides are. What a near key does not see (a paraphrase, a translation, a
    sentence inside a longer text) is not found, and neither is what the *teachers* were trained on: what is known of that stands in `labels_seen`.

    Args:
        corpus: What the student was trained on.
        frames: The benchmark tasks that are there.
        tasks: Their rows in `params.yaml`.
        kind: Names contents and keys.
        labels_seen: See `params.Params.labels_seen`.
    """
    examples = list(corpus)
    ids, keys = set(map(kind.content_id, examples)), set(map(kind.near_key, examples))
    shares, n_overlapping = {}, 0
    for name, frame in frames.items():
        held = [
            all(kind.content_id(side) in ids or kind.near_key(side) in keys for side in row)
            for row in frame[sides(tasks[name], kind)].itertuples(index=False)
        ]
        n_overlapping += sum(held)
        shares[name] = sum(held) / max(len(held), 1)
    return Contamination(shares, len(examples), n_overlapping, dict(labels_seen or {}))
