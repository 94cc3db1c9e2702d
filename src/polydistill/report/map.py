"""A map of the student's space: points of the corpus and of test examples, with a few words about each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polydistill.config.data import TaskParams
from polydistill.contracts import FloatArray
from polydistill.data.tables import CLASS_KINDS
from polydistill.report.drawings import describe
from polydistill.report.space import FEWEST_MAP_ROWS, MAP_ROWS, Space, TestRows, coordinates

CHARACTERS = 70
"""Maximum number of characters of the text of a point."""
COLOURS = 7
"""Number of groups with a colour of their own; the others share one."""
OTHER, NONE = "other", "no label"


@dataclass(frozen=True)
class Point:
    """One example on the map.

    Attributes:
        x: Horizontal position in [0, 1].
        y: Vertical position in [0, 1].
        source: Index of its source in `SpaceMap.sources`.
        label: Index of its label in `SpaceMap.labels`.
        text: The example in a few words.
    """

    x: float
    y: float
    source: int
    label: int
    text: str


@dataclass(frozen=True)
class SpaceMap:
    """The map.

    Attributes:
        method: `t-SNE` or `PCA`.
        sources: Names of the sources: those of the corpus, and the tasks; the last may be `other`.
        labels: Names of the labels of classes; the last ones may be `other` and `no label`.
        points: The points.
    """

    method: str
    sources: tuple[str, ...]
    labels: tuple[str, ...]
    points: tuple[Point, ...]


def space_map(
    space: Space, tasks: Mapping[str, TaskParams], modality: str, seed: int
) -> SpaceMap | None:
    """Map rows of the corpus, and test examples of tasks whose data may be redistributed.

    Returns:
        None: there are too few points.
    """
    n = min(MAP_ROWS, len(space.examples))
    embedded, texts = (
        [space.student[:n]],
        [describe(one, modality, CHARACTERS) for one in space.examples[:n]],
    )
    sources, labels = space.sources[:n], [NONE] * n
    shown = {
        name: rows
        for name, rows in space.tests.items()
        if tasks[name].redistributable and len(rows.columns) == 1 and len(rows.frame)
    }
    distinct = _distinct(shown)
    for name, rows in distinct.items():
        part = rows.frame.head(MAP_ROWS // len(distinct))
        embedded.append(rows.student[0][: len(part)])
        texts += [describe(one, modality, CHARACTERS) for one in part[rows.columns[0]]]
        sources += [f"task {name}"] * len(part)
        is_class = tasks[name].kind in CLASS_KINDS
        labels += [str(one) if is_class else NONE for one in part["label"]]
    values: FloatArray = np.concatenate(embedded)
    if len(values) < FEWEST_MAP_ROWS:
        return None
    places, method = coordinates(values, seed)
    names, of_source = _coloured(sources)
    classes, of_label = _coloured(labels)
    points = tuple(
        Point(round(float(x), 3), round(float(y), 3), source, label, text)
        for (x, y), source, label, text in zip(places, of_source, of_label, texts, strict=True)
    )
    return SpaceMap(method, names, classes, points)


def _distinct(shown: Mapping[str, TestRows]) -> dict[str, TestRows]:
    """Return the test examples of each task that no task before has: several kinds of tasks may have the same table."""
    found, seen = {}, set[str]()
    for name, rows in shown.items():
        ids = rows.frame["id"].astype(str)
        is_new = ~ids.isin(seen).to_numpy()
        if is_new.any():
            embeddings = [values[is_new] for values in rows.student]
            found[name] = TestRows(rows.frame[is_new], rows.columns, embeddings)
        seen |= {*ids}
    return found


def _coloured(names: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
    """Return the most frequent names, with `other` and `no label` last, and the index of each point's name."""
    counts = Counter(name for name in names if name != NONE)
    kept = [name for name, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
    few = kept if len(kept) <= COLOURS + 1 else kept[:COLOURS]
    rest = [OTHER] * (len(few) < len(kept)) + [NONE] * (NONE in names)
    every = (*few, *rest)
    numbers = {name: number for number, name in enumerate(every)}
    return every, [numbers.get(name, numbers.get(OTHER, 0)) for name in names]
