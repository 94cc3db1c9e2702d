"""Contamination: the share of benchmark examples that also occur in the corpus."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from polydistill.config.data import TaskParams
from polydistill.contracts import Example, Modality
from polydistill.data.tables import sides


@dataclass(frozen=True)
class Contamination:
    """The overlap between the benchmark and the corpus.

    Attributes:
        tasks: By task, the share of its examples that the corpus contains, in [0, 1].
        n_corpus: Number of examples in the corpus.
        n_overlapping: Number of examples of all tasks that the corpus contains.
        labels_seen: By task, the teachers whose weights were trained on its labels.
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
    """Search the corpus for every benchmark example, by content and by near key.

    A pair counts if both of its examples are in the corpus. Paraphrases, translations and sentences inside longer texts
    have different near keys and are not found. The training data of the *teachers* is not searched; `labels_seen`
    lists the teachers that are known to have been trained on a task's labels.

    Args:
        corpus: The examples that the student was trained on.
        frames: The tables of the available benchmark tasks.
        tasks: The tasks' settings in `params.yaml`.
        kind: The modality, whose methods compute content ids and near keys.
        labels_seen: By task, the teachers whose weights were trained on its labels; see `params.Params.labels_seen`.
    """
    rows = {
        name: [
            [{kind.content_id(side), kind.near_key(side)} for side in row]
            for row in frame[sides(tasks[name], kind)].itertuples(index=False)
        ]
        for name, frame in frames.items()
    }
    wanted = {key for task in rows.values() for row in task for side in row for key in side}
    found, n_corpus = set[str](), 0
    for example in corpus:
        n_corpus += 1
        found |= wanted & {kind.content_id(example), kind.near_key(example)}
    shares, n_overlapping = {}, 0
    for name, task in rows.items():
        held = [all(side & found for side in row) for row in task]
        n_overlapping += sum(held)
        shares[name] = sum(held) / max(len(held), 1)
    return Contamination(shares, n_corpus, n_overlapping, dict(labels_seen or {}))
