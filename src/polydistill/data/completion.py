"""Completion of a user's table: removal of unusable rows, and ids, groups and splits that the table lacks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from polydistill.contracts import Example, Modality
from polydistill.data.near_duplicates import (
    connected_groups,
    links_of_equal,
    near_duplicate_pairs,
)

TEST_SHARE = 0.2
ROWS_TO_CHECK = 100
"""The number of rows whose ids decide whether the ids of a corpus are content ids."""


@dataclass(frozen=True)
class Dropped:
    """Numbers of rows of a user's table that cannot be used.

    Attributes:
        empty: Rows without an example or a label.
        repeated: Rows with the same example and label as an earlier row.
        contradictory: Rows whose example has different labels in different rows.
    """

    empty: int = 0
    repeated: int = 0
    contradictory: int = 0

    def __bool__(self) -> bool:
        return bool(self.empty or self.repeated or self.contradictory)


def has_content_ids(frame: pd.DataFrame, column: str, modality: Modality) -> bool:
    """Return whether the column `id` of a corpus holds content ids; a user's own ids are not content ids."""
    if "id" not in frame:
        return False
    shown = frame.loc[frame[column].notna(), ["id", column]].head(ROWS_TO_CHECK)
    pairs = shown.itertuples(index=False, name=None)
    return shown.empty or any(name == modality.content_id(example) for name, example in pairs)


def usable_rows(
    frame: pd.DataFrame, columns: Sequence[str], modality: Modality, *, label: str | None = None
) -> tuple[pd.DataFrame, Dropped]:
    """Return the usable rows, with a column `id` of content ids, and the numbers of dropped rows.

    Args:
        frame: The user's table.
        columns: The columns of examples: one, or two for pairs.
        modality: The modality of the examples.
        label: The column of labels, if the table has one.

    Returns:
        The rows in their order, with a new index from 0, and the numbers of dropped rows.
    """
    shown = [*columns, *([label] if label else [])]
    is_empty = frame[shown].isna().any(axis=1)
    for column in columns:
        is_empty |= frame[column].map(_is_blank)
    kept = frame[~is_empty].copy()
    kept["id"] = _content_ids(kept, columns, modality)
    is_repeated = kept.duplicated(["id", *([label] if label else [])])
    kept = kept[~is_repeated]
    is_contradictory = kept.duplicated("id", keep=False)
    dropped = Dropped(
        int(is_empty.sum()), int(is_repeated.sum()), int(is_contradictory.sum()) if label else 0
    )
    return kept[~is_contradictory].reset_index(drop=True), dropped


def groups_of(examples: Sequence[Example], modality: Modality) -> list[str]:
    """Return the group of each example, `(n_examples,)`. A split must keep each group on one side.

    Two examples are in one group if they have equal near keys or equal split keys (such as scaffolds), or, for a
    modality with a `near_similarity`, if their near keys are at least that similar. The name of a group is the
    content id of its first example.

    Examples:
        >>> from polydistill.data.modalities import MODALITIES
        >>> groups = groups_of(["A cat.", "a cat", "two dogs"], MODALITIES.get("text")())
        >>> groups[0] == groups[1], groups[0] == groups[2]
        (True, False)
    """
    keys = [modality.near_key(example) for example in examples]
    links = [links_of_equal(keys)]
    split_keys = [modality.split_key(example) for example in examples]
    if any(key is not None for key in split_keys):
        own = [key if key is not None else f"row {row}" for row, key in enumerate(split_keys)]
        links.append(links_of_equal(own))
    if modality.near_similarity is not None:
        distinct = list(dict.fromkeys(keys))
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        rows = np.array([first[key] for key in distinct], dtype=np.int64)
        links.append(rows[near_duplicate_pairs(distinct, modality.near_similarity)])
    components = connected_groups(len(keys), *links)
    names: dict[int, str] = {}
    return [
        names.setdefault(int(component), modality.content_id(example))
        for component, example in zip(components, examples, strict=True)
    ]


def split_of(groups: Sequence[str], labels: Sequence[object] | None = None) -> list[str]:
    """Return `train` or `test` for each row, `(n_rows,)`; about a fifth of the groups, chosen by hash, is `test`.

    Args:
        groups: The group of each row, `(n_rows,)`; all rows of a group are on one side.
        labels: The class of each row; if no training row has a class, all groups with this class move to `train`.

    Examples:
        >>> split_of(["a", "b", "a", "c", "d"])
        ['test', 'train', 'test', 'train', 'train']
    """
    draws = {group: _draw(group) for group in groups}
    test = {group for group, draw in draws.items() if draw < TEST_SHARE}
    if not test and len(draws) > 1:
        test = {min(draws, key=lambda group: draws[group])}
    if labels is not None:
        pairs = list(zip(groups, map(str, labels), strict=True))
        trained = {label for group, label in pairs if group not in test}
        test -= {group for group, label in pairs if label not in trained}
    return ["test" if group in test else "train" for group in groups]


def _draw(group: str) -> float:
    """Return a number in [0, 1) that depends only on the group's name."""
    return int.from_bytes(hashlib.sha256(f"split {group}".encode()).digest()[:8], "big") / 2**64


def _content_ids(frame: pd.DataFrame, columns: Sequence[str], modality: Modality) -> list[str]:
    names = [[modality.content_id(one) for one in frame[column]] for column in columns]
    if len(names) == 1:
        return names[0]
    pairs = (" ".join(pair) for pair in zip(*names, strict=True))
    return [hashlib.sha256(pair.encode()).hexdigest()[:32] for pair in pairs]


def _is_blank(value: object) -> bool:
    return isinstance(value, str | bytes) and not value.strip()
